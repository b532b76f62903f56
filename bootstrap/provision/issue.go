package provision

import (
	"context"
	"errors"
	"fmt"
	"math"
	"time"

	"github.com/hashicorp/vault/api"
	"github.com/vaultproof/vaultproof/bootstrap/failpoint"
	"github.com/vaultproof/vaultproof/bootstrap/vault"
	"github.com/vaultproof/vaultproof/pkg/custody"
)

// issueTimeout bounds making a token and storing it, which a stop of the
// sidecar does not cut in two.
const issueTimeout = 8 * time.Second

// renew renews every live token that is due. Trouble with one must not let the
// other die.
func (p *Provisioner) renew(ctx context.Context, have tokens) error {
	var errs []error
	for _, k := range p.wanted() {
		t := have.of(k)
		if !t.alive || t.due() > 0 {
			continue
		}
		failpoint.Hit("before-renew-" + k.policy)
		_, err := t.client.Auth().Token().RenewSelfWithContext(ctx, 0)
		failpoint.Hit("after-renew-" + k.policy)
		if err == nil {
			var now token
			if now, err = ask(ctx, k, t.client); err == nil {
				now.version, now.newest = t.version, t.newest
				*t = now
			}
		}
		switch {
		case vault.Denied(err):
			t.alive = false
		case err != nil:
			errs = append(errs, fmt.Errorf("renewing the %s token: %w", k.policy, err))
		}
	}
	return errors.Join(errs...)
}

// replace makes a new token for every one that is dead, damaged or too old, puts
// it into have, and disables what it supersedes. All are tried, whatever becomes
// of the first. Only a dead provisioner token is an error, and any dead one while
// there is a root token, which must not be ended before all is well.
func (p *Provisioner) replace(ctx context.Context, root rootFound, have tokens, but *reservations) error {
	var errs []error
	for _, k := range p.wanted() {
		t := have.of(k)
		maker := root.client
		if maker == nil {
			maker = have.of(provisioner).client
		}
		wasAlive := t.alive
		err := p.refresh(ctx, maker, k, t)
		switch {
		case err == nil:
		case !wasAlive && (root.client != nil || k.policy == provisioner.policy):
			errs = append(errs, err)
		case !wasAlive:
			but.add("secret %s needs a new one, which could not be made (%s), so %s: if this lasts, %s",
				k.secret(p.Ring), err, k.without, p.mend())
		default:
			but.add("the %s token is alive, but could not be replaced: %s", k.policy, err)
		}
	}
	return errors.Join(errs...)
}

// refresh makes t what it should be: alive, not too old, and the only version of
// its secret that can be read.
func (p *Provisioner) refresh(ctx context.Context, maker *api.Client, k kind, t *token) error {
	if !t.alive || !t.newest || t.old(p.MaxAge, time.Now()) == 0 {
		if maker == nil {
			return fmt.Errorf("making a %s token: there is none to make it with", k.policy)
		}
		made, err := p.issue(ctx, maker, k)
		if err != nil {
			return err
		}
		*t = made
	}
	return p.supersede(ctx, k, t.version)
}

// issue makes a token of kind k and puts it into custody. Should it not get
// there, it dies unused after one period.
func (p *Provisioner) issue(ctx context.Context, maker *api.Client, k kind) (token, error) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), issueTimeout)
	defer cancel()
	failpoint.Hit("before-create-token-" + k.policy)
	renewable := true
	s, err := maker.Auth().Token().CreateWithRoleWithContext(ctx, &api.TokenCreateRequest{
		Policies:        []string{k.policy},
		NoDefaultPolicy: true,
		// The role has it too, but what is said here shows in the token itself.
		Period:      fmt.Sprintf("%ds", int(p.Period.Seconds())),
		Renewable:   &renewable,
		DisplayName: k.policy,
	}, k.policy)
	if err != nil {
		return token{}, fmt.Errorf("making a %s token: %w", k.policy, err)
	}
	if s == nil || s.Auth == nil || s.Auth.ClientToken == "" {
		return token{}, fmt.Errorf("making a %s token: Vault's answer holds none", k.policy)
	}
	failpoint.Hit("after-create-token-" + k.policy)
	raw := []byte(s.Auth.ClientToken)
	defer clear(raw)
	if err := p.Ring.Put(ctx, k.secret(p.Ring), raw); err != nil {
		return token{}, fmt.Errorf("storing the %s token: %w", k.policy, err)
	}
	t, err := p.lookup(ctx, k)
	if err == nil && (!t.alive || !t.newest) {
		err = fmt.Errorf("the %s token that was just stored is not alive when read back", k.policy)
	}
	if err != nil {
		return token{}, err
	}
	p.Log.Info(k.policy+" token issued and stored", "secret", k.secret(p.Ring), "version", t.version, "period", p.Period.String())
	return t, nil
}

// supersede disables the enabled versions that are older than current, which
// holds a live token. They are not revoked: a client that read one may be at
// work, and nobody renews them any more.
func (p *Provisioner) supersede(ctx context.Context, k kind, current string) error {
	if current == "1" {
		return nil
	}
	id := k.secret(p.Ring)
	versions, err := list(ctx, p.Custody, id)
	if err != nil {
		return err
	}
	var errs []error
	for i, older := len(versions)-1, true; i >= 0 && older; i-- { // the oldest first
		v := versions[i]
		if older = v.Name != current; !older || v.State != custody.Enabled {
			continue
		}
		if err := disable(ctx, p.Custody, id, v.Name); err != nil {
			errs = append(errs, fmt.Errorf("disabling version %s, which version %s supersedes: %w", v.Name, current, err))
			continue
		}
		p.Log.Info("superseded version disabled", "secret", id, "version", v.Name, "current", current)
	}
	return errors.Join(errs...)
}

// oldest tells in how long the first of the live tokens should be replaced. One
// that is too old already could not be replaced just now, which is a reservation.
func (p *Provisioner) oldest(have tokens) time.Duration {
	in := time.Duration(math.MaxInt64)
	for _, t := range have {
		if left := t.old(p.MaxAge, time.Now()); t.alive && left > 0 {
			in = min(in, left)
		}
	}
	return in
}

package provision

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/hashicorp/vault/api"
	"github.com/vaultproof/vaultproof/bootstrap/failpoint"
	"github.com/vaultproof/vaultproof/bootstrap/vault"
	"github.com/vaultproof/vaultproof/pkg/custody"
)

// policy of the provisioner token, and its display name.
const policy = "provisioner"

// issueTimeout bounds making a token and storing it, which a stop of the
// sidecar does not cut in two.
const issueTimeout = 8 * time.Second

// token is what is known of the provisioner token in custody.
type token struct {
	alive       bool
	ttl, period time.Duration
}

// due tells in how long the token should be renewed: when a third of its
// period is used up.
func (t token) due() time.Duration { return max(t.ttl-t.period*2/3, 0) }

// lookup finds out whether custody holds a live provisioner token.
func (p *Provisioner) lookup(ctx context.Context) (token, error) {
	raw, err := p.Ring.Get(ctx, p.Ring.Provisioner())
	if errors.Is(err, custody.ErrNotFound) {
		return token{}, nil
	} else if err != nil {
		return token{}, err
	}
	defer clear(raw)
	return p.inspect(ctx, raw)
}

// inspect asks Vault about a token. One that is dead, has other policies, or
// is no orphan with a period is not alive for our purpose.
func (p *Provisioner) inspect(ctx context.Context, raw []byte) (token, error) {
	client, err := p.Vault.As(raw)
	if err != nil {
		return token{}, err
	}
	s, err := client.Auth().Token().LookupSelfWithContext(ctx)
	if vault.Denied(err) {
		return token{}, nil
	} else if err != nil {
		return token{}, fmt.Errorf("looking the provisioner token up: %w", err)
	}
	return judge(s)
}

// judge reads what lookup-self said.
func judge(s *api.Secret) (token, error) {
	if s == nil {
		return token{}, errors.New("looking the provisioner token up: Vault's answer is empty")
	}
	ttl, err := s.TokenTTL()
	if err != nil {
		return token{}, fmt.Errorf("reading the provisioner token's time to live: %w", err)
	}
	have, err := s.TokenPolicies()
	if err != nil {
		return token{}, fmt.Errorf("reading the provisioner token's policies: %w", err)
	}
	period, err := seconds(s.Data["period"])
	if err != nil {
		return token{}, fmt.Errorf("reading the provisioner token's period: %w", err)
	}
	orphan, _ := s.Data["orphan"].(bool)
	return token{alive: orphan && period > 0 && slices.Contains(have, policy), ttl: ttl, period: period}, nil
}

// seconds reads one of Vault's durations; an absent one is 0.
func seconds(v any) (time.Duration, error) {
	switch n := v.(type) {
	case nil:
		return 0, nil
	case json.Number:
		s, err := n.Int64()
		return time.Duration(s) * time.Second, err
	}
	return 0, fmt.Errorf("it is %T, not a number", v)
}

// issue makes a provisioner token and puts it into custody. It is an orphan,
// so that it outlives the root token, and periodic, so that it lives as long
// as somebody renews it. Should the token not reach custody it dies unused
// after one period.
func (p *Provisioner) issue(ctx context.Context, root *api.Client) (token, error) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), issueTimeout)
	defer cancel()
	renewable := true
	s, err := root.Auth().Token().CreateOrphanWithContext(ctx, &api.TokenCreateRequest{
		Policies:        []string{policy},
		NoDefaultPolicy: true,
		Period:          fmt.Sprintf("%ds", int(p.Period.Seconds())),
		Renewable:       &renewable,
		DisplayName:     policy,
	})
	if err != nil {
		return token{}, fmt.Errorf("making a provisioner token: %w", err)
	}
	if s == nil || s.Auth == nil || s.Auth.ClientToken == "" {
		return token{}, errors.New("making a provisioner token: Vault's answer holds none")
	}
	failpoint.Hit("after-create-token")
	raw := []byte(s.Auth.ClientToken)
	defer clear(raw)
	if err := p.Ring.Put(ctx, p.Ring.Provisioner(), raw); err != nil {
		return token{}, fmt.Errorf("storing the provisioner token: %w", err)
	}
	t, err := p.lookup(ctx)
	if err == nil && !t.alive {
		err = errors.New("the provisioner token that was just stored is not alive when read back")
	}
	if err != nil {
		return token{}, err
	}
	p.Log.Info("provisioner token issued and stored", "secret", p.Ring.Provisioner(), "period", p.Period.String())
	return t, nil
}

// ErrDead: the provisioner token died and must be replaced by Ensure.
var ErrDead = errors.New("the provisioner token in custody is not alive")

// Renew renews the provisioner token and tells when it is due again.
func (p *Provisioner) Renew(ctx context.Context) (Result, error) {
	raw, err := p.Ring.Get(ctx, p.Ring.Provisioner())
	if errors.Is(err, custody.ErrNotFound) {
		return Result{}, fmt.Errorf("%w: %w", ErrDead, err)
	} else if err != nil {
		return Result{}, err
	}
	defer clear(raw)
	client, err := p.Vault.As(raw)
	if err != nil {
		return Result{}, err
	}
	if _, err := client.Auth().Token().RenewSelfWithContext(ctx, 0); vault.Denied(err) {
		return Result{}, ErrDead
	} else if err != nil {
		return Result{}, fmt.Errorf("renewing the provisioner token: %w", err)
	}
	t, err := p.inspect(ctx, raw)
	if err != nil {
		return Result{}, err
	}
	if !t.alive {
		return Result{}, ErrDead
	}
	return Result{RenewIn: t.due()}, nil
}

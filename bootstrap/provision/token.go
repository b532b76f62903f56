package provision

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"slices"
	"time"

	"github.com/hashicorp/vault/api"
	"github.com/vaultproof/vaultproof/bootstrap/failpoint"
	"github.com/vaultproof/vaultproof/bootstrap/keys"
	"github.com/vaultproof/vaultproof/bootstrap/policies"
	"github.com/vaultproof/vaultproof/bootstrap/vault"
	"github.com/vaultproof/vaultproof/pkg/custody"
)

// kind of token that is kept alive in custody.
type kind struct {
	policy string // its only one, and its display name
	secret func(*keys.Ring) string
}

var (
	provisioner = kind{policies.Provisioner, (*keys.Ring).Provisioner}
	// stepDown's token makes the active Vault hand its leadership over.
	stepDown = kind{policies.Handover, (*keys.Ring).Handover}
)

// kinds in the order they are made: whoever waits for the provisioner token
// finds the others as well.
var kinds = []kind{stepDown, provisioner}

// lookAgain is how soon a dead token that could not be replaced is looked at
// again: an admin may have stored a root token meanwhile.
const lookAgain = 5 * time.Minute

// issueTimeout bounds making a token and storing it, which a stop of the
// sidecar does not cut in two.
const issueTimeout = 8 * time.Second

// token is what is known of one in custody.
type token struct {
	alive       bool
	ttl, period time.Duration
}

// due tells in how long the token should be renewed: when a third of its
// period is used up.
func (t token) due() time.Duration { return max(t.ttl-t.period*2/3, 0) }

// tokens are what is known of each of kinds, in that order.
type tokens []token

func (t tokens) of(k kind) token {
	for i := range kinds {
		if kinds[i].policy == k.policy {
			return t[i]
		}
	}
	return token{}
}

// due tells in how long the first of those alive should be renewed.
func (t tokens) due() time.Duration {
	due := time.Duration(math.MaxInt64)
	for _, one := range t {
		if one.alive {
			due = min(due, one.due())
		}
	}
	return due
}

// lookup finds out whether custody holds a live token of kind k.
func (p *Provisioner) lookup(ctx context.Context, k kind) (token, error) {
	raw, err := p.Ring.Get(ctx, k.secret(p.Ring))
	if errors.Is(err, custody.ErrNotFound) {
		return token{}, nil
	} else if err != nil {
		return token{}, err
	}
	defer clear(raw)
	return p.inspect(ctx, k, raw)
}

// inspect asks Vault about a token. One that is dead, has other policies, or
// is no orphan with a period is not alive for our purpose.
func (p *Provisioner) inspect(ctx context.Context, k kind, raw []byte) (token, error) {
	client, err := p.Vault.As(raw)
	if err != nil {
		return token{}, err
	}
	s, err := client.Auth().Token().LookupSelfWithContext(ctx)
	if vault.Denied(err) {
		return token{}, nil
	} else if err != nil {
		return token{}, fmt.Errorf("looking the %s token up: %w", k.policy, err)
	}
	return judge(k, s)
}

// judge reads what lookup-self said.
func judge(k kind, s *api.Secret) (token, error) {
	if s == nil {
		return token{}, fmt.Errorf("looking the %s token up: Vault's answer is empty", k.policy)
	}
	ttl, err := s.TokenTTL()
	if err != nil {
		return token{}, fmt.Errorf("reading the %s token's time to live: %w", k.policy, err)
	}
	have, err := s.TokenPolicies()
	if err != nil {
		return token{}, fmt.Errorf("reading the %s token's policies: %w", k.policy, err)
	}
	period, err := seconds(s.Data["period"])
	if err != nil {
		return token{}, fmt.Errorf("reading the %s token's period: %w", k.policy, err)
	}
	orphan, _ := s.Data["orphan"].(bool)
	return token{alive: orphan && period > 0 && slices.Contains(have, k.policy), ttl: ttl, period: period}, nil
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

// issue makes a token of kind k and puts it into custody. It is an orphan,
// so that it outlives the root token, and periodic, so that it lives as long
// as somebody renews it. Should the token not reach custody it dies unused
// after one period.
func (p *Provisioner) issue(ctx context.Context, root *api.Client, k kind) (token, error) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), issueTimeout)
	defer cancel()
	renewable := true
	s, err := root.Auth().Token().CreateOrphanWithContext(ctx, &api.TokenCreateRequest{
		Policies:        []string{k.policy},
		NoDefaultPolicy: true,
		Period:          fmt.Sprintf("%ds", int(p.Period.Seconds())),
		Renewable:       &renewable,
		DisplayName:     k.policy,
	})
	if err != nil {
		return token{}, fmt.Errorf("making a %s token: %w", k.policy, err)
	}
	if s == nil || s.Auth == nil || s.Auth.ClientToken == "" {
		return token{}, fmt.Errorf("making a %s token: Vault's answer holds none", k.policy)
	}
	failpoint.Hit("after-create-token")
	raw := []byte(s.Auth.ClientToken)
	defer clear(raw)
	if err := p.Ring.Put(ctx, k.secret(p.Ring), raw); err != nil {
		return token{}, fmt.Errorf("storing the %s token: %w", k.policy, err)
	}
	t, err := p.lookup(ctx, k)
	if err == nil && !t.alive {
		err = fmt.Errorf("the %s token that was just stored is not alive when read back", k.policy)
	}
	if err != nil {
		return token{}, err
	}
	p.Log.Info(k.policy+" token issued and stored", "secret", k.secret(p.Ring), "period", p.Period.String())
	return t, nil
}

// ErrDead: the provisioner token died and must be replaced by Ensure.
var ErrDead = errors.New("the provisioner token in custody is not alive")

// Renew renews the tokens and tells when the first is due again. A handover
// token that died is replaced right away, if that can be done.
func (p *Provisioner) Renew(ctx context.Context) (Result, error) {
	have, errs := make(tokens, len(kinds)), make([]error, len(kinds))
	for i, k := range kinds { // trouble with one must not let the other die
		have[i], errs[i] = p.renew(ctx, k)
	}
	if err := errors.Join(errs...); err != nil {
		return Result{}, err
	}
	switch {
	case !have.of(provisioner).alive:
		return Result{}, ErrDead
	case !have.of(stepDown).alive:
		return p.Ensure(ctx)
	}
	return Result{RenewIn: have.due()}, nil
}

// renew renews the token of kind k, if it is alive.
func (p *Provisioner) renew(ctx context.Context, k kind) (token, error) {
	raw, err := p.Ring.Get(ctx, k.secret(p.Ring))
	if errors.Is(err, custody.ErrNotFound) {
		return token{}, nil
	} else if err != nil {
		return token{}, err
	}
	defer clear(raw)
	client, err := p.Vault.As(raw)
	if err != nil {
		return token{}, err
	}
	if _, err := client.Auth().Token().RenewSelfWithContext(ctx, 0); vault.Denied(err) {
		return token{}, nil
	} else if err != nil {
		return token{}, fmt.Errorf("renewing the %s token: %w", k.policy, err)
	}
	return p.inspect(ctx, k, raw)
}

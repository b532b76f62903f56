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
	"github.com/vaultproof/vaultproof/bootstrap/keys"
	"github.com/vaultproof/vaultproof/bootstrap/policies"
	"github.com/vaultproof/vaultproof/bootstrap/vault"
	"github.com/vaultproof/vaultproof/pkg/custody"
)

// kind of token that is kept alive in custody.
type kind struct {
	policy string // its only one, and the name of its role
	secret func(*keys.Ring) string
	// without says what follows from there being none.
	without string
}

var (
	provisioner = kind{policies.Provisioner, (*keys.Ring).Provisioner, "nobody can set Vault up"}
	// stepDown's token makes the active Vault hand its leadership over.
	stepDown = kind{policies.Handover, (*keys.Ring).Handover, "a stop of the active Vault may leave the cluster without one for a few seconds"}
	// snapshots is the kind whose token takes them.
	snapshots = kind{policies.Snapshot, (*keys.Ring).Snapshot, "no snapshot is taken"}
)

// mostDamaged is how many versions of a token may be damaged before no more are
// written: then it is custody that damages them, as it is read or written.
const mostDamaged = 2

// kinds in the order they are made: whoever waits for the provisioner token
// finds the others as well.
var kinds = []kind{snapshots, stepDown, provisioner}

// wanted are the kinds of which there is to be a token. The role of the one for
// snapshots is written in any case, so that they can be turned on without root.
func (p *Provisioner) wanted() []kind {
	return slices.DeleteFunc(slices.Clone(kinds), func(k kind) bool { return k.policy == policies.Snapshot && !p.Snapshots })
}

// role is the path of the token role.
func (k kind) role() string { return "auth/token/roles/" + k.policy }

// token is what is known of one in custody.
type token struct {
	alive       bool
	client      *api.Client // that speaks with it, if it is alive
	version     string      // in custody
	newest      bool        // no newer version can be read
	ttl, period time.Duration
	made        time.Time
	lapses      time.Time // unless it is renewed
}

// due tells in how long the token should be renewed: when a third of its
// period is used up.
func (t token) due() time.Duration { return max(t.ttl-t.period*2/3, 0) }

// old tells in how long the token should be replaced.
func (t token) old(maxAge time.Duration, now time.Time) time.Duration {
	if maxAge == 0 {
		return math.MaxInt64
	}
	return max(t.made.Add(maxAge).Sub(now), 0)
}

// tokens are what is known of each kind that is wanted, by its policy.
type tokens map[string]*token

func (t tokens) of(k kind) *token { return t[k.policy] }

// last tells until when each of those alive is valid.
func (t tokens) last() map[string]time.Time {
	until := map[string]time.Time{}
	for policy, one := range t {
		if one.alive {
			until[policy] = one.lapses
		}
	}
	return until
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

// look finds out what custody holds of each kind. What could not be found out is
// an error; the others are there all the same.
func (p *Provisioner) look(ctx context.Context) (tokens, error) {
	have := tokens{}
	var errs []error
	for _, k := range p.wanted() {
		t, err := p.lookup(ctx, k)
		have[k.policy], errs = &t, append(errs, err)
	}
	return have, errors.Join(errs...)
}

// lookup finds out whether custody holds a live token of kind k. If the newest
// version is dead or damaged, as after a write that was cut in two, an older one
// that is still enabled may do.
func (p *Provisioner) lookup(ctx context.Context, k kind) (token, error) {
	s, err := read(ctx, p.Custody, k.secret(p.Ring))
	switch {
	case errors.Is(err, custody.ErrNotFound):
		return token{}, nil
	case errors.Is(err, custody.ErrCorrupt):
		t, damaged, olderErr := p.older(ctx, k, "")
		if olderErr == nil && !t.alive && damaged > mostDamaged {
			return token{}, err // more of the same would not help
		}
		return t, olderErr
	case err != nil:
		return token{}, err
	}
	defer s.Payload.Wipe()
	t, err := p.inspect(ctx, k, s.Payload)
	if err != nil || t.alive || s.Version == "1" {
		t.version, t.newest = s.Version, true
		return t, err
	}
	t, _, err = p.older(ctx, k, s.Version)
	return t, err
}

// older looks for a live token in the enabled versions except the one named, and
// counts those that are damaged.
func (p *Provisioner) older(ctx context.Context, k kind, except string) (t token, damaged int, err error) {
	id := k.secret(p.Ring)
	versions, err := list(ctx, p.Custody, id)
	if err != nil {
		return token{}, 0, err
	}
	for _, v := range versions {
		if v.State != custody.Enabled || v.Name == except {
			continue
		}
		s, err := readVersion(ctx, p.Custody, id, v.Name)
		if errors.Is(err, custody.ErrCorrupt) {
			damaged++
			continue
		} else if err != nil {
			return token{}, damaged, err
		}
		t, err := p.inspect(ctx, k, s.Payload)
		s.Payload.Wipe()
		if err != nil || t.alive {
			t.version = v.Name
			return t, damaged, err
		}
	}
	return token{}, damaged, nil
}

// inspect asks Vault about a token. One that is dead, has other policies, or
// is no orphan with a period is not alive for our purpose.
func (p *Provisioner) inspect(ctx context.Context, k kind, raw []byte) (token, error) {
	client, err := p.Vault.As(raw)
	if err != nil {
		return token{}, err
	}
	return ask(ctx, k, client)
}

// ask is inspect with the client that speaks with the token.
func ask(ctx context.Context, k kind, client *api.Client) (token, error) {
	s, err := client.Auth().Token().LookupSelfWithContext(ctx)
	if vault.Denied(err) {
		return token{}, nil
	} else if err != nil {
		return token{}, fmt.Errorf("looking the %s token up: %w", k.policy, err)
	}
	t, err := judge(k, s)
	t.client, t.lapses = client, time.Now().Add(t.ttl)
	return t, err
}

// judge reads what lookup-self said. A token that was made with the root token
// directly is as good as one made through the role.
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
	made, err := seconds(s.Data["creation_time"])
	if err != nil || made == 0 {
		return token{}, fmt.Errorf("reading when the %s token was made: %w", k.policy, errors.Join(err, errors.New("Vault must say it in seconds since 1970")))
	}
	orphan, _ := s.Data["orphan"].(bool)
	return token{alive: orphan && period > 0 && slices.Contains(have, k.policy),
		ttl: ttl, period: period, made: time.Unix(0, 0).Add(made)}, nil
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

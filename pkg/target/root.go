package target

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/hashicorp/vault/api"
	"k8s.io/apimachinery/pkg/util/wait"

	"github.com/vaultproof/vaultproof/pkg/ceremony"
	"github.com/vaultproof/vaultproof/pkg/custody"
)

// HandoverTokenSecret is the suffix of the secret with the token that the
// sidecar itself uses. Its policy lets it begin a ceremony.
const HandoverTokenSecret = "handover-token"

const (
	// rootLife is how long the token of WithRoot lives if nobody revokes it,
	// because the run was killed.
	rootLife = 30 * time.Minute
	// revokeFor is how long revoking it is tried, elections included, and
	// revokeEvery how often.
	revokeFor   = 45 * time.Second
	revokeEvery = time.Second
)

// WithRoot makes a root token with the shares in custody, and calls do with a
// client of the active pod that speaks with it. The token is revoked when do
// returns, whatever came of it, and would expire by itself. ErrNoPrivilege if
// the shares cannot be read, or do not make a root token.
//
// A token that somebody gave for the target takes the place of the shares.
func (t *Target) WithRoot(ctx context.Context, do func(context.Context, *api.Client) error) error {
	if len(t.admin) > 0 {
		return rootAccess{reach: t.reachActive, given: t.admin}.use(ctx, do)
	}
	shares, err := t.shares(ctx)
	if err != nil {
		return err
	}
	starter, err := t.starter(ctx)
	if err != nil {
		return err
	}
	defer clear(starter)
	r := rootAccess{reach: t.reachActive, shares: shares.Shares, starter: starter}
	return r.use(ctx, do)
}

// rootAccess is what using a root token takes.
type rootAccess struct {
	// reach gives a client of the pod that is active now, without a token, and
	// what closes it.
	reach   func(context.Context) (*api.Client, func(), error)
	shares  ceremony.Shares
	starter []byte // the token that the ceremony is begun with; may be nil
	// given is an admin's token, by which a root token is made without a ceremony.
	given []byte
}

func (r rootAccess) use(ctx context.Context, do func(context.Context, *api.Client) error) (err error) {
	client, done, err := r.reach(ctx)
	if err != nil {
		return err
	}
	defer done()
	token, err := r.make(ctx, client)
	if err != nil {
		return err
	}
	defer clear(token)
	defer func() { err = errors.Join(err, r.revoke(ctx, token)) }()
	client.SetToken(string(token))
	return do(ctx, client)
}

// make yields a root token that expires. The one that a ceremony yields does
// not, so it only makes the other, and is revoked.
func (r rootAccess) make(ctx context.Context, client *api.Client) ([]byte, error) {
	if len(r.given) > 0 {
		token, err := expiring(ctx, client, r.given)
		var refusal *api.ResponseError
		if errors.As(err, &refusal) && refusal.StatusCode < 500 {
			return nil, fmt.Errorf("%w: the token %s may not make a root token: %w", ErrNoPrivilege, givenToken, err)
		}
		return token, err
	}
	lasting, err := ceremony.Root(ctx, client, r.shares, r.starter)
	if errors.Is(err, ceremony.ErrShares) || errors.Is(err, ceremony.ErrDenied) {
		return nil, fmt.Errorf("%w: %w", ErrNoPrivilege, err)
	} else if err != nil {
		return nil, err
	}
	defer clear(lasting)
	token, err := expiring(ctx, client, lasting)
	if err := errors.Join(err, r.revoke(ctx, lasting)); err != nil {
		clear(token) // which expires
		return nil, err
	}
	return token, nil
}

// expiring makes, with a root token, an orphaned one that lives for rootLife.
func expiring(ctx context.Context, client *api.Client, root []byte) ([]byte, error) {
	as, err := client.Clone()
	if err != nil {
		return nil, fmt.Errorf("copying the client of the active pod: %w", err)
	}
	as.SetToken(string(root))
	s, err := as.Auth().Token().CreateOrphanWithContext(ctx, &api.TokenCreateRequest{
		Policies: []string{"root"}, TTL: rootLife.String(), ExplicitMaxTTL: rootLife.String(), DisplayName: "vaultproof",
	})
	if err != nil {
		return nil, fmt.Errorf("making a root token that expires: %w", err)
	}
	if s == nil || s.Auth == nil || s.Auth.ClientToken == "" {
		return nil, errors.New("making a root token that expires: Vault's answer holds none")
	}
	return []byte(s.Auth.ClientToken), nil
}

// revoke revokes a root token on whichever pod is active by then.
func (r rootAccess) revoke(ctx context.Context, token []byte) error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), revokeFor)
	defer cancel()
	last := errors.New("no pod was asked")
	err := wait.PollUntilContextCancel(ctx, revokeEvery, true, func(ctx context.Context) (bool, error) {
		if err := r.revokeOnce(ctx, token); err != nil {
			if ctx.Err() == nil {
				last = err
			}
			return false, nil
		}
		return true, nil
	})
	if err != nil {
		return fmt.Errorf("a root token was made and could not be revoked within %s: %w", revokeFor, last)
	}
	return nil
}

func (r rootAccess) revokeOnce(ctx context.Context, token []byte) error {
	client, done, err := r.reach(ctx)
	if err != nil {
		return err
	}
	defer done()
	client.SetToken(string(token))
	return ceremony.Revoke(ctx, client)
}

func (t *Target) reachActive(ctx context.Context) (*api.Client, func(), error) {
	active, err := t.Active(ctx)
	if err != nil {
		return nil, nil, err
	}
	return t.Pod(ctx, active.Pod.Name)
}

// shares finds the secrets that hold shares.
func (t *Target) shares(ctx context.Context) (ceremony.Custody, error) {
	names, err := t.CustodySecrets(ctx)
	if err != nil {
		return ceremony.Custody{}, fmt.Errorf("%w: a root token takes the shares: %w", ErrNoPrivilege, err)
	}
	found := ceremony.Custody{Store: t.Custody}
	for _, name := range names {
		if strings.HasPrefix(name, t.CustodyPrefix+"-"+ShareSecret) {
			found.Secrets = append(found.Secrets, name)
		}
	}
	return found, nil
}

// starter is the token that the sidecar keeps for beginning a ceremony, which
// Vault asks for from 2.0 on; nil if custody has none that this run may read.
func (t *Target) starter(ctx context.Context) ([]byte, error) {
	token, err := t.Secret(ctx, HandoverTokenSecret)
	if errors.Is(err, custody.ErrNotFound) || errors.Is(err, custody.ErrDenied) {
		return nil, nil
	}
	return token, err
}

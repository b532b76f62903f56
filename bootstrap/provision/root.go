package provision

import (
	"context"
	"errors"
	"fmt"
	"log/slog"

	"github.com/hashicorp/vault/api"
	"github.com/vaultproof/vaultproof/bootstrap/failpoint"
	"github.com/vaultproof/vaultproof/bootstrap/keys"
	"github.com/vaultproof/vaultproof/bootstrap/vault"
	"github.com/vaultproof/vaultproof/pkg/ceremony"
	"github.com/vaultproof/vaultproof/pkg/custody"
)

// RootToken is the root token in custody, if there is one.
type RootToken struct {
	Vault   *vault.Client
	Custody Custody
	Secret  string // its name
	Log     *slog.Logger
}

// rootFound is what came of looking for it.
type rootFound struct {
	client *api.Client // nil if there is no live one
	why    string      // there is none
	found  bool        // custody has an enabled version, alive or not
}

// Alive returns the version of a live root token, or "" if custody has none.
func (r *RootToken) Alive(ctx context.Context) (version string, err error) {
	s, err := read(ctx, r.Custody, r.Secret)
	if errors.Is(err, custody.ErrNotFound) || errors.Is(err, custody.ErrCorrupt) {
		return "", nil
	} else if err != nil {
		return "", err
	}
	defer s.Payload.Wipe()
	if _, alive, err := r.as(ctx, s.Payload); err != nil || !alive {
		return "", err
	}
	return s.Version, nil
}

func (r *RootToken) find(ctx context.Context) (rootFound, error) {
	s, err := read(ctx, r.Custody, r.Secret)
	switch {
	case errors.Is(err, custody.ErrNotFound):
		return rootFound{why: err.Error()}, nil
	case errors.Is(err, custody.ErrCorrupt):
		return rootFound{found: true, why: err.Error()}, nil
	case err != nil:
		return rootFound{}, err
	}
	defer s.Payload.Wipe()
	client, alive, err := r.as(ctx, s.Payload)
	switch {
	case err != nil:
		return rootFound{}, err
	case !alive:
		return rootFound{found: true, why: "the one in secret " + r.Secret + " was revoked"}, nil
	}
	return rootFound{found: true, client: client}, nil
}

// as gives a client that speaks with a token, and tells whether that is alive.
func (r *RootToken) as(ctx context.Context, token []byte) (client *api.Client, alive bool, err error) {
	if client, err = r.Vault.As(token); err != nil {
		return nil, false, err
	}
	if _, err := client.Auth().Token().LookupSelfWithContext(ctx); vault.Denied(err) {
		return client, false, nil
	} else if err != nil {
		return nil, false, fmt.Errorf("looking the root token up: %w", err)
	}
	return client, true, nil
}

// Retire ends every root token that custody can still read: revokes it, makes
// sure that it is dead, and destroys its version. A version that was disabled by
// hand stays as it is.
func (r *RootToken) Retire(ctx context.Context) error {
	versions, err := list(ctx, r.Custody, r.Secret)
	if errors.Is(err, custody.ErrNotFound) {
		return nil
	} else if err != nil {
		return err
	}
	var errs []error
	for _, v := range versions {
		if v.State == custody.Enabled {
			errs = append(errs, r.retire(ctx, v.Name))
		}
	}
	return errors.Join(errs...)
}

func (r *RootToken) retire(ctx context.Context, version string) error {
	s, err := readVersion(ctx, r.Custody, r.Secret, version)
	switch {
	case errors.Is(err, custody.ErrCorrupt):
		r.Log.Warn("a damaged version of the root token is destroyed without being revoked; if a root token was ever in it whole, "+
			"find it with \"vault list auth/token/accessors\"", "secret", r.Secret, "version", version)
	case err != nil:
		return err
	default:
		if err := r.revoke(ctx, s.Payload); err != nil {
			return fmt.Errorf("version %s of secret %s: %w", version, r.Secret, err)
		}
	}
	if err := destroy(ctx, r.Custody, r.Secret, version); err != nil {
		return fmt.Errorf("the root token is dead, but its version in custody could not be destroyed: %w", err)
	}
	r.Log.Info("root token revoked, and its version in custody destroyed; break-glass makes another with the shares if it is ever needed",
		"secret", r.Secret, "version", version)
	return nil
}

func (r *RootToken) revoke(ctx context.Context, token custody.Payload) error {
	defer token.Wipe()
	client, err := r.Vault.As(token)
	if err != nil {
		return err
	}
	failpoint.Hit("before-revoke-root")
	if err := ceremony.Revoke(ctx, client); err != nil {
		return err
	}
	failpoint.Hit("after-revoke-root")
	return nil
}

// The calls to custody: each bounded in time, its failure under the secret's name.

func read(ctx context.Context, c Custody, id string) (s custody.Secret, err error) {
	err = call(ctx, id, func(ctx context.Context) error { s, err = c.Read(ctx, id); return err })
	return s, err
}

func readVersion(ctx context.Context, c Custody, id, version string) (s custody.Secret, err error) {
	err = call(ctx, id, func(ctx context.Context) error { s, err = c.ReadVersion(ctx, id, version); return err })
	return s, err
}

func list(ctx context.Context, c Custody, id string) (v []custody.Version, err error) {
	err = call(ctx, id, func(ctx context.Context) error { v, err = c.Versions(ctx, id); return err })
	return v, err
}

func disable(ctx context.Context, c Custody, id, version string) error {
	failpoint.Hit("before-disable-" + id)
	err := call(ctx, id, func(ctx context.Context) error { return c.Disable(ctx, id, version) })
	failpoint.Hit("after-disable-" + id)
	return err
}

func destroy(ctx context.Context, c Custody, id, version string) error {
	failpoint.Hit("before-destroy-" + id)
	err := call(ctx, id, func(ctx context.Context) error { return c.Destroy(ctx, id, version) })
	failpoint.Hit("after-destroy-" + id)
	return err
}

func call(ctx context.Context, id string, do func(context.Context) error) error {
	ctx, cancel := context.WithTimeout(ctx, keys.CallTimeout)
	defer cancel()
	if err := do(ctx); err != nil {
		return &keys.Failure{ID: id, Err: err}
	}
	return nil
}

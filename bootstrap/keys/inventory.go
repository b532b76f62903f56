package keys

import (
	"context"
	"errors"

	"github.com/vaultproof/vaultproof/bootstrap/failpoint"
	"github.com/vaultproof/vaultproof/pkg/custody"
	"golang.org/x/sync/errgroup"
)

// Inventory is which keys custody has ever held, whatever became of them.
type Inventory struct {
	Shares int  // shares with at least one version
	Root   bool // the root token has at least one version
	Live   int  // of all of these, those with a version that is enabled
}

// Inventory counts the keys without reading them. A disabled or destroyed
// version counts: it belongs to a Vault that was initialised.
func (r *Ring) Inventory(ctx context.Context) (Inventory, error) {
	ctx, cancel := context.WithTimeout(ctx, CallTimeout)
	defer cancel()
	ids := r.vaultKeys()
	versions := make([][]custody.Version, len(ids))
	g, gctx := errgroup.WithContext(ctx)
	for i, id := range ids {
		g.Go(func() (err error) {
			versions[i], err = r.versions(gctx, id)
			return err
		})
	}
	if err := g.Wait(); err != nil {
		return Inventory{}, err
	}
	var inv Inventory
	for i, v := range versions {
		switch {
		case len(v) == 0:
			continue
		case ids[i] == r.Root():
			inv.Root = true
		default:
			inv.Shares++
		}
		if len(enabled(v)) > 0 {
			inv.Live++
		}
	}
	return inv, nil
}

// vaultKeys names what sys/init yields: every share, then the root token.
func (r *Ring) vaultKeys() []string {
	var ids []string
	for i := range r.Shares {
		ids = append(ids, r.Share(i))
	}
	return append(ids, r.Root())
}

// Retire disables every version of every share and of the root token. It is
// for the keys of a Vault that was initialised and never opened, before the
// same storage is initialised again; an admin can still enable them.
func (r *Ring) Retire(ctx context.Context) error {
	var errs []error
	for _, id := range r.vaultKeys() {
		versions, err := r.versions(ctx, id)
		errs = append(errs, err)
		for _, v := range enabled(versions) {
			errs = append(errs, r.Disable(ctx, id, v.Name))
		}
	}
	return errors.Join(errs...)
}

// Disable makes a version unreadable until it is enabled again.
func (r *Ring) Disable(ctx context.Context, id, version string) error {
	ctx, cancel := context.WithTimeout(ctx, CallTimeout)
	defer cancel()
	failpoint.Hit("before-disable-" + id)
	if err := r.Store.Disable(ctx, id, version); err != nil {
		return &Failure{ID: id, Err: err}
	}
	failpoint.Hit("after-disable-" + id)
	return nil
}

// Destroy erases the payload of a version for good.
func (r *Ring) Destroy(ctx context.Context, id, version string) error {
	ctx, cancel := context.WithTimeout(ctx, CallTimeout)
	defer cancel()
	failpoint.Hit("before-destroy-" + id)
	if err := r.Store.Destroy(ctx, id, version); err != nil {
		return &Failure{ID: id, Err: err}
	}
	failpoint.Hit("after-destroy-" + id)
	return nil
}

// versions lists a secret's versions, newest first; none if there is no such
// secret.
func (r *Ring) versions(ctx context.Context, id string) ([]custody.Version, error) {
	ctx, cancel := context.WithTimeout(ctx, CallTimeout)
	defer cancel()
	v, err := r.Store.Versions(ctx, id)
	if err != nil && !errors.Is(err, custody.ErrNotFound) {
		return nil, &Failure{ID: id, Err: err}
	}
	return v, nil
}

func enabled(versions []custody.Version) (out []custody.Version) {
	for _, v := range versions {
		if v.State == custody.Enabled {
			out = append(out, v)
		}
	}
	return out
}

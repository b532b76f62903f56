// Package keys is the layout of a Vault's keys in custody, and the rules by
// which they get there: nothing counts as stored before it was read back, a
// write that is repeated adds nothing, and the claim to initialise is won by
// custody's atomic create.
package keys

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/vaultproof/vaultproof/bootstrap/failpoint"
	"github.com/vaultproof/vaultproof/bootstrap/vault"
	"github.com/vaultproof/vaultproof/pkg/custody"
)

// CallTimeout bounds one call to custody, the client's own retries included.
const CallTimeout = 5 * time.Second

// Store is the part of custody that the sidecar uses.
type Store interface {
	Create(ctx context.Context, id string) error
	Add(ctx context.Context, id string, payload []byte) (version string, err error)
	Read(ctx context.Context, id string) (custody.Secret, error)
	Versions(ctx context.Context, id string) ([]custody.Version, error)
	Disable(ctx context.Context, id, version string) error
	Destroy(ctx context.Context, id, version string) error
}

// Ring is one Vault's keys in custody.
type Ring struct {
	Store  Store
	Prefix string // of every secret's name, e.g. "vault"
	Shares int    // how many shares sys/init makes
	// Used, if set, hears of each secret that is about to be read or written.
	Used func()
}

// Share names the secret of the i-th share, from 0.
func (r *Ring) Share(i int) string { return fmt.Sprintf("%s-unseal-share-%d", r.Prefix, i) }

// Root names the secret of the root token.
func (r *Ring) Root() string { return r.Prefix + "-root-token" }

// Provisioner names the secret of the provisioner token.
func (r *Ring) Provisioner() string { return r.Prefix + "-provisioner-token" }

// Handover names the secret of the token that makes the active Vault step down.
func (r *Ring) Handover() string { return r.Prefix + "-handover-token" }

// Snapshot names the secret of the token that takes snapshots, if any are taken.
func (r *Ring) Snapshot() string { return r.Prefix + "-snapshot-token" }

// Get reads the newest enabled version of a secret.
func (r *Ring) Get(ctx context.Context, id string) ([]byte, error) {
	s, err := r.read(ctx, id)
	return s.Payload, err
}

func (r *Ring) read(ctx context.Context, id string) (custody.Secret, error) {
	r.used()
	ctx, cancel := context.WithTimeout(ctx, CallTimeout)
	defer cancel()
	s, err := r.Store.Read(ctx, id)
	if err != nil {
		return custody.Secret{}, &Failure{ID: id, Err: err}
	}
	return s, nil
}

// Put stores payload and reads it back. If the newest version holds it
// already, nothing is written, so Put may be repeated after any failure.
func (r *Ring) Put(ctx context.Context, id string, payload []byte) error {
	if err := r.create(ctx, id); err != nil && !errors.Is(err, custody.ErrExists) {
		return err
	}
	if s, err := r.read(ctx, id); err == nil && bytes.Equal(s.Payload, payload) {
		clear(s.Payload)
		return nil
	}
	version, err := r.add(ctx, id, payload)
	if err != nil {
		return err
	}
	s, err := r.read(ctx, id)
	if err != nil {
		return err
	}
	defer clear(s.Payload)
	if !bytes.Equal(s.Payload, payload) {
		return &Failure{ID: id, Err: fmt.Errorf("version %s was written, but version %s with other content was read back: %w",
			version, s.Version, custody.ErrCorrupt)}
	}
	return nil
}

func (r *Ring) create(ctx context.Context, id string) error {
	ctx, cancel := context.WithTimeout(ctx, CallTimeout)
	defer cancel()
	failpoint.Hit("before-create-" + id)
	if err := r.Store.Create(ctx, id); err != nil {
		return &Failure{ID: id, Err: err}
	}
	failpoint.Hit("after-create-" + id)
	return nil
}

// used tells that a secret passes through memory, where buffers that nobody
// wipes keep copies of it.
func (r *Ring) used() {
	if r.Used != nil {
		r.Used()
	}
}

func (r *Ring) add(ctx context.Context, id string, payload []byte) (string, error) {
	r.used()
	ctx, cancel := context.WithTimeout(ctx, CallTimeout)
	defer cancel()
	failpoint.Hit("before-add-" + id)
	version, err := r.Store.Add(ctx, id, payload)
	if err != nil {
		return "", &Failure{ID: id, Err: err}
	}
	failpoint.Hit("after-add-" + id)
	return version, nil
}

// Keep stores all keys and reads each back, the shares first: with them the
// Vault can be opened, and a lost root token can be made anew. All are tried
// even if one fails, because each one stored is one less to lose.
func (r *Ring) Keep(ctx context.Context, k *vault.Keys) error {
	var errs []error
	for i, share := range k.Shares {
		errs = append(errs, r.Put(ctx, r.Share(i), share))
	}
	errs = append(errs, r.Put(ctx, r.Root(), k.Root))
	return errors.Join(errs...)
}

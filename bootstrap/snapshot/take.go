package snapshot

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"time"

	"github.com/vaultproof/vaultproof/bootstrap/keys"
	"github.com/vaultproof/vaultproof/bootstrap/objectstore"
	"github.com/vaultproof/vaultproof/bootstrap/vault"
)

// Source is where snapshots come from: the Vault of the own pod.
type Source interface {
	// Active tells whether it is the active one.
	Active(ctx context.Context) (bool, error)
	// Snapshot opens a stream of its data. The caller closes it.
	Snapshot(ctx context.Context, token []byte) (io.ReadCloser, error)
}

// Tokens gives the token to take snapshots with. The caller wipes it.
type Tokens interface {
	Token(ctx context.Context) ([]byte, error)
}

// CustodyToken reads the token from custody each time, so that a new one is
// used as soon as it is there.
type CustodyToken struct {
	Ring   *keys.Ring
	Secret string // its name
}

// Token implements Tokens.
func (c CustodyToken) Token(ctx context.Context) ([]byte, error) { return c.Ring.Get(ctx, c.Secret) }

// Of is the Source that is Vault.
func Of(v *vault.Client) Source { return source{v} }

type source struct{ *vault.Client }

// Snapshot implements Source.
func (s source) Snapshot(ctx context.Context, token []byte) (io.ReadCloser, error) {
	client, err := s.As(token)
	if err != nil {
		return nil, err
	}
	client.SetClientTimeout(0) // a big one takes long; ctx bounds it
	req := client.NewRequest(http.MethodGet, "/v1/sys/storage/raft/snapshot")
	//lint:ignore SA1019 the typed call wants a writer, and a store wants a reader
	resp, err := client.RawRequestWithContext(ctx, req)
	if err != nil {
		return nil, fmt.Errorf("asking Vault for a snapshot: %w", err)
	}
	return resp.Body, nil
}

// Taken is a snapshot that was stored, read back and found whole.
type Taken struct {
	Name  string
	At    time.Time
	Index uint64
	Size  int64 // bytes
}

// errNotActive: there is nothing to be taken beside a standby.
var errNotActive = errors.New("this Vault is no longer active")

// Take takes one snapshot and stores it, reads it back, and then deletes the
// oldest ones that are too many.
func (t *Taker) Take(ctx context.Context) (Taken, error) {
	ctx, cancel := context.WithTimeout(ctx, takeTimeout)
	defer cancel()
	if active, err := t.Source.Active(ctx); err != nil {
		return Taken{}, err
	} else if !active {
		return Taken{}, errNotActive
	}
	name, err := t.store(ctx)
	if err != nil {
		return Taken{}, err
	}
	// What was sent was whole; what counts is what is there.
	size := &sized{}
	info, err := t.readBack(ctx, name, size)
	if err != nil {
		return Taken{}, fmt.Errorf("reading the new snapshot back, no older one is deleted: %w", err)
	}
	at, _ := taken(name)
	done := Taken{Name: name, At: at, Index: info.Index, Size: size.n}
	if err := t.prune(ctx); err != nil {
		return done, fmt.Errorf("deleting old snapshots, after %s was stored: %w", name, err)
	}
	return done, nil
}

// store streams a snapshot from Vault to the store.
func (t *Taker) store(ctx context.Context) (name string, err error) {
	token, err := t.Tokens.Token(ctx)
	if err != nil {
		return "", fmt.Errorf("reading the token for snapshots: %w", err)
	}
	defer clear(token)
	body, err := t.Source.Snapshot(ctx, token)
	if vault.Denied(err) {
		return "", fmt.Errorf("the token for snapshots in custody is dead or lacks the policy snapshot: %w", err)
	} else if err != nil {
		return "", err
	}
	defer body.Close()
	stream := newTap(body)
	defer stream.close()
	meta, err := stream.begin()
	if err != nil {
		return "", fmt.Errorf("reading Vault's snapshot: %w", err)
	}
	name = Name(time.Now(), meta.Index)
	if err := t.Store.Put(ctx, name, stream); err != nil {
		return "", fmt.Errorf("storing a snapshot: %w", err)
	}
	return name, nil
}

func (t *Taker) readBack(ctx context.Context, name string, size *sized) (Info, error) {
	r, err := t.Store.Get(ctx, name)
	if err != nil {
		return Info{}, err
	}
	defer r.Close()
	return Check(io.TeeReader(r, size))
}

// prune deletes the oldest snapshots beyond those to keep.
func (t *Taker) prune(ctx context.Context) error {
	all, err := List(ctx, t.Store)
	if err != nil {
		return err
	}
	var errs []error
	for _, old := range all[:max(len(all)-t.Keep, 0)] {
		if err := t.Store.Delete(ctx, old.Name); err != nil && !errors.Is(err, objectstore.ErrNotFound) {
			errs = append(errs, err)
			continue
		}
		t.Log.Info("old snapshot deleted", "name", old.Name)
	}
	return errors.Join(errs...)
}

// sized counts what is written to it.
type sized struct{ n int64 }

func (s *sized) Write(p []byte) (int, error) {
	s.n += int64(len(p))
	return len(p), nil
}

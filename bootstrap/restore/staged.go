package restore

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"time"

	"github.com/vaultproof/vaultproof/bootstrap/snapshot"
	"github.com/vaultproof/vaultproof/pkg/custody"
)

// staged is a snapshot on the volume, and the shares that open it. It is fetched
// first, so that the time in which Vault is open without its data is short.
type staged struct {
	name, path       string
	info             snapshot.Info
	total, threshold int      // of the snapshot's seal
	shares           [][]byte // as many as unseal
}

func (s *staged) close() {
	for _, share := range s.shares {
		clear(share)
	}
	_ = os.Remove(s.path)
}

// fetch brings the snapshot to the volume and holds it against the shares.
func (r *restore) fetch(ctx context.Context) (*staged, error) {
	begin := time.Now()
	// An attempt that was killed left its file; there is one at a time.
	s := &staged{name: r.name, path: filepath.Join(r.folder, "restoring.snap")}
	if err := r.copy(ctx, s); err != nil {
		s.close()
		return nil, fmt.Errorf("fetching the snapshot, nothing was changed: %w", err)
	}
	r.log.Info("snapshot fetched and found whole", "snapshot", r.store.URL(s.name), "raftIndex", s.info.Index, "ms", time.Since(begin).Milliseconds())
	if err := r.match(ctx, s); err != nil {
		s.close()
		return nil, err
	}
	return s, nil
}

// copy writes the snapshot to the volume, and checks it on the way.
func (r *restore) copy(ctx context.Context, s *staged) error {
	from, err := r.store.Get(ctx, s.name)
	if err != nil {
		return err
	}
	defer from.Close()
	to, err := os.OpenFile(s.path, os.O_CREATE|os.O_TRUNC|os.O_WRONLY, 0o600)
	if err != nil {
		return fmt.Errorf("making room for the snapshot: %w", err)
	}
	disk := &disk{File: to}
	s.info, err = snapshot.Check(io.TeeReader(from, disk))
	switch {
	case disk.err != nil:
		err = fmt.Errorf("writing the snapshot to the volume of Vault's data: %w", disk.err)
	case err != nil:
		err = fmt.Errorf("%s: %w", r.store.URL(s.name), err)
	}
	return errors.Join(err, to.Close())
}

// disk remembers how writing failed, so that it is not taken for a bad snapshot.
type disk struct {
	*os.File
	err error
}

func (d *disk) Write(p []byte) (int, error) {
	n, err := d.File.Write(p)
	if err != nil {
		d.err = err
	}
	return n, err
}

// match reads the shares and tells whether they open the snapshot.
func (r *restore) match(ctx context.Context, s *staged) error {
	s.total, s.threshold = s.info.Shares, s.info.Threshold
	if s.threshold == 0 {
		s.total, s.threshold = r.ring.Shares, r.threshold
		r.log.Warn("the snapshot does not tell how many shares it has; taking the number that is configured", "shares", s.total, "threshold", s.threshold)
	}
	if err := r.readShares(ctx, s); err != nil {
		return err
	}
	fits, err := fit(s.info, s.shares)
	switch {
	case errors.Is(err, errUnknown):
		r.log.Warn("going on without knowing whether the shares in custody open the snapshot", "reason", err.Error())
	case err != nil:
		return fmt.Errorf("putting the shares in custody together, nothing was changed: %w", err)
	case !fits:
		return fmt.Errorf("nothing was changed, %w: it was taken of another Vault, or these are not the versions of %s and following that were valid then; enable those versions, or restore another snapshot", ErrForeign, r.ring.Share(0))
	}
	return nil
}

// readShares reads as many shares as unseal, whichever can be had.
func (r *restore) readShares(ctx context.Context, s *staged) error {
	var errs []error
	for i := range r.ring.Shares {
		if len(s.shares) == s.threshold {
			return nil
		}
		share, err := r.ring.Get(ctx, r.ring.Share(i))
		if err != nil {
			errs = append(errs, err)
			if !errors.Is(err, custody.ErrNotFound) && !errors.Is(err, custody.ErrCorrupt) {
				break // it would be the same with each
			}
			continue
		}
		s.shares = append(s.shares, share)
	}
	if len(s.shares) < s.threshold {
		return fmt.Errorf("nothing was changed: custody gives %d of the %d shares that open the snapshot: %w", len(s.shares), s.threshold, errors.Join(errs...))
	}
	return nil
}

package restore

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"time"

	"github.com/vaultproof/vaultproof/bootstrap/keys"
	"github.com/vaultproof/vaultproof/bootstrap/objectstore"
	"github.com/vaultproof/vaultproof/bootstrap/seal"
	"github.com/vaultproof/vaultproof/bootstrap/storage"
	"github.com/vaultproof/vaultproof/bootstrap/vault"
)

// Errors that say why a restore was refused or failed.
var (
	ErrHasData = errors.New("there is data already")
	// ErrForeign: the snapshot belongs to other shares.
	ErrForeign = errors.New("the shares in custody do not open this snapshot")
)

const (
	// pollEvery is how often Vault is asked whether it got on.
	pollEvery = 50 * time.Millisecond
	// peerWait is how long the other pods may take to answer, all together. One
	// that is down for good must not prevent a restore.
	peerWait = 20 * time.Second
)

// restore is one attempt.
type restore struct {
	vault     *vault.Client
	peers     map[string]*vault.Client                    // by pod, without this one
	answered  []string                                    // the peers that said that they are empty
	restart   func(ctx context.Context, pod string) error // nil: cannot
	ring      *keys.Ring
	threshold int // if the snapshot does not tell
	dir       *storage.Dir
	folder    string // of the markers
	store     objectstore.Store
	name      string // of the snapshot
	log       *slog.Logger
	hit       func(moment string) // for tests of a crash at each
}

func (r *restore) run(ctx context.Context) error {
	release, err := r.dir.Lock()
	if errors.Is(err, storage.ErrLocked) {
		return errors.New("another restore is under way in this pod")
	} else if err != nil {
		return err
	}
	defer release()
	if err := r.empty(ctx); err != nil {
		return err
	}
	s, err := r.fetch(ctx)
	if err != nil {
		return err
	}
	defer s.close()
	// Fetching may have taken long.
	if err := r.empty(ctx); err != nil {
		return err
	}
	begin := time.Now()
	if err := r.load(ctx, s); err != nil {
		return err
	}
	early := r.early(ctx)
	if err := r.open(ctx, s); err != nil {
		return err
	}
	r.log.Info("snapshot restored: Vault is unsealed and active", "snapshot", r.store.URL(s.name), "raftIndex", s.info.Index, "ms", time.Since(begin).Milliseconds())
	r.rejoin(ctx, early)
	return r.prove(ctx)
}

// empty refuses a cluster that is not empty.
func (r *restore) empty(ctx context.Context) error {
	mark, marked, err := r.dir.Fresh()
	if err != nil && !errors.Is(err, storage.ErrGarbled) {
		return err
	}
	again := marked && mark.Purpose == storage.Restore
	st, err := r.vault.SealStatus(ctx)
	switch {
	case err != nil:
		return fmt.Errorf("looking whether this Vault is empty: %w", err)
	case st.Initialised && again:
		return errors.New("an earlier restore was cut short, and what it left is about to be deleted: the sidecar sees to that once this command has ended, and /status says so; then run it again")
	case st.Initialised:
		return fmt.Errorf("nothing was restored, %w: this Vault is initialised; a snapshot is only restored into an empty cluster, so delete the volume claims of all Vault pods and then the pods, if that data may go", ErrHasData)
	}
	r.answered = nil
	waiting, cancel := context.WithTimeout(ctx, peerWait)
	defer cancel()
	for pod, peer := range r.peers {
		var st vault.Seal
		err := r.await(waiting, func(ctx context.Context) (_ bool, err error) {
			st, err = peer.SealStatus(ctx)
			return err == nil, err
		})
		switch {
		case ctx.Err() != nil:
			return fmt.Errorf("looking whether the other pods are empty: %w", ctx.Err())
		case err != nil:
			r.log.Warn("whether another pod is empty could not be told; it joins when it comes up, if it is", "pod", pod, "error", err.Error())
		case st.Initialised && st.Sealed && again:
			// It asked the attempt that was cut short.
			r.answered = append(r.answered, pod)
		case st.Initialised:
			return fmt.Errorf("nothing was restored, %w: %s is initialised; a snapshot is only restored into an empty cluster, so delete the volume claim of %s and then the pod, if that data may go", ErrHasData, pod, pod)
		default:
			r.answered = append(r.answered, pod)
		}
	}
	return nil
}

// load initialises Vault with keys of a moment and loads the snapshot. When it
// returns without an error Vault is sealed.
func (r *restore) load(ctx context.Context, s *staged) error {
	claim, err := r.ring.ReadClaim(ctx)
	if err != nil {
		return fmt.Errorf("reading the claim on this Vault: %w", err)
	}
	r.hit("restore-before-mark")
	if err := r.dir.Begin(storage.Fresh{Purpose: storage.Restore, Claim: claim.ID(), At: time.Now()}); err != nil {
		return err
	}
	r.hit("restore-before-init")
	hand, err := r.vault.Init(ctx, s.total, s.threshold)
	if err != nil {
		return fmt.Errorf("%w; run the restore again", err)
	}
	defer hand.Wipe()
	r.hit("restore-after-init")
	r.log.Info("Vault is initialised with keys that are thrown away; loading the snapshot")
	if err := r.unseal(ctx, hand.Shares, s.threshold); err != nil {
		return fmt.Errorf("opening Vault to load the snapshot: %w", err)
	}
	r.hit("restore-before-load")
	if err := r.upload(ctx, hand.Root, s); err != nil {
		return err
	}
	r.hit("restore-after-upload")
	// Vault answers before it loads the snapshot. It then finds that it does not
	// have its keys, and seals itself.
	err = r.await(ctx, func(ctx context.Context) (bool, error) {
		st, err := r.vault.SealStatus(ctx)
		return st.Sealed, err
	})
	if err != nil {
		return fmt.Errorf("waiting for Vault to load the snapshot: %w", err)
	}
	r.hit("restore-loaded")
	return nil
}

func (r *restore) upload(ctx context.Context, root []byte, s *staged) error {
	client, err := r.vault.As(root)
	if err != nil {
		return err
	}
	client.SetClientTimeout(0) // a big one takes long; ctx bounds it
	file, err := os.Open(s.path)
	if err != nil {
		return fmt.Errorf("opening the fetched snapshot: %w", err)
	}
	defer file.Close()
	if err := client.Sys().RaftSnapshotRestoreWithContext(ctx, file, true); err != nil {
		return fmt.Errorf("loading the snapshot: %w", err)
	}
	return nil
}

// open unseals Vault with the shares in custody. The mark goes first: from now
// on the storage is worth keeping, and the sidecar could do the rest.
func (r *restore) open(ctx context.Context, s *staged) error {
	if err := r.dir.Settle(); err != nil {
		return err
	}
	r.hit("restore-before-unseal")
	err := r.unseal(ctx, s.shares, s.threshold)
	if errors.Is(err, seal.ErrWrong) {
		// Nothing was opened with kept keys, so this storage still has no past.
		err = fmt.Errorf("%w: Vault loaded it and stays sealed; what was loaded is deleted when Vault starts next, see /status", ErrForeign)
		return errors.Join(err, r.dir.Begin(storage.Fresh{Purpose: storage.Restore, At: time.Now()}))
	} else if err != nil {
		return fmt.Errorf("the snapshot is loaded, but unsealing failed, which the sidecar tries again: %w", err)
	}
	r.hit("restore-unsealed")
	return nil
}

// unseal submits shares and waits until Vault is active.
func (r *restore) unseal(ctx context.Context, shares [][]byte, threshold int) error {
	st, err := r.vault.SealStatus(ctx)
	if err != nil {
		return err
	}
	opener := &seal.Opener{Vault: r.vault, Shares: inMemory(shares), N: len(shares)}
	defer opener.Wipe()
	if _, err := opener.Open(ctx, threshold, st, time.Now()); err != nil {
		return err
	}
	err = r.await(ctx, r.vault.Active)
	if err != nil {
		return fmt.Errorf("waiting for Vault to become active: %w", err)
	}
	return nil
}

// inMemory gives the opener, which overwrites what it uses, copies.
type inMemory [][]byte

func (m inMemory) Share(i int) string { return fmt.Sprint("share ", i) }

func (m inMemory) Get(_ context.Context, id string) ([]byte, error) {
	for i, share := range m {
		if m.Share(i) == id {
			return append([]byte(nil), share...), nil
		}
	}
	return nil, fmt.Errorf("there is no %s", id)
}

// prove looks whether the restored Vault knows the provisioner token in
// custody. It need not: a newer one may have been made after the snapshot, or
// its period may have passed.
func (r *restore) prove(ctx context.Context) error {
	token, err := r.ring.Get(ctx, r.ring.Provisioner())
	if err != nil {
		return fmt.Errorf("the snapshot is restored, but the provisioner token to try it with could not be read: %w", err)
	}
	defer clear(token)
	client, err := r.vault.As(token)
	if err != nil {
		return err
	}
	_, err = client.Auth().Token().LookupSelfWithContext(ctx)
	switch {
	case vault.Denied(err):
		r.log.Warn("the restored Vault does not know the provisioner token in custody: it is younger than the snapshot, or its period has passed; bootstrap break-glass makes a root token, with which the sidecar makes a new one", "secret", r.ring.Provisioner())
	case err != nil:
		return fmt.Errorf("the snapshot is restored, but Vault could not look the provisioner token up: %w", err)
	default:
		r.log.Info("the restored Vault knows the provisioner token in custody; the other pods join by themselves", "secret", r.ring.Provisioner())
	}
	return nil
}

// await polls until done; the last failure is told if ctx ends first.
func (r *restore) await(ctx context.Context, done func(context.Context) (bool, error)) error {
	tick := time.NewTicker(pollEvery)
	defer tick.Stop()
	for {
		ok, err := done(ctx)
		if ok {
			return nil
		}
		select {
		case <-ctx.Done():
			return errors.Join(ctx.Err(), err)
		case <-tick.C:
		}
	}
}

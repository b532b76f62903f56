// Package seal opens a sealed Vault with shares from custody. Shares are in
// memory from shortly before Vault can take them until it has, and are then
// overwritten.
package seal

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"time"

	"github.com/vaultproof/vaultproof/bootstrap/vault"
	"github.com/vaultproof/vaultproof/pkg/custody"
)

// HoldFor is how long fetched shares are kept for a Vault that does not come
// up; after that they are fetched again when it answers.
const HoldFor = 30 * time.Second

// attempts is how often a disturbed submission is begun again in one go. A
// third party that posts shares of its own needs to hit a window of some
// milliseconds that many times in a row.
const attempts = 5

// Door is the part of Vault's client that unsealing needs.
type Door interface {
	ResetUnseal(ctx context.Context) (vault.Seal, error)
	Submit(ctx context.Context, share []byte) (vault.Seal, error)
}

// Source gives the shares: keys.Ring.
type Source interface {
	Share(i int) string
	Get(ctx context.Context, id string) ([]byte, error)
}

// TooFewError: custody has not enough readable shares.
type TooFewError struct {
	Missing []string // secret names, in order of the shares
	Causes  error    // what custody said
}

// Error names the secrets that are missing.
func (e *TooFewError) Error() string {
	return fmt.Sprintf("too few shares in custody, no readable version of %s: %v", strings.Join(e.Missing, ", "), e.Causes)
}

// Unwrap gives custody's errors.
func (e *TooFewError) Unwrap() error { return e.Causes }

// ErrWrong: Vault took a full set of shares, undisturbed, and stayed closed.
var ErrWrong = errors.New("the shares in custody do not open this Vault")

// ErrDisturbed: somebody else posts shares to this Vault at the same time.
var ErrDisturbed = errors.New("another party is posting shares to this Vault, so that ours did not get through; trying again")

// Opener unseals one Vault.
type Opener struct {
	Vault  Door
	Shares Source
	N      int // shares in custody

	mu      sync.Mutex
	held    map[int][]byte // share number to share
	fetched time.Time
	first   int // share to begin with; moves on when a set was wrong
}

// Warm tells whether shares are in memory, and drops them if they are too old.
func (o *Opener) Warm(now time.Time) bool {
	o.mu.Lock()
	defer o.mu.Unlock()
	if len(o.held) > 0 && now.Sub(o.fetched) > HoldFor {
		o.wipe()
	}
	return len(o.held) > 0
}

// Wipe overwrites the shares in memory.
func (o *Opener) Wipe() {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.wipe()
}

func (o *Opener) wipe() {
	for _, s := range o.held {
		clear(s)
	}
	o.held = nil
}

// Fetch gets t shares from custody, all at once, and others in place of those
// that cannot be had. It fails with TooFewError if fewer are left, or with
// custody's error if that is what keeps it from knowing.
func (o *Opener) Fetch(ctx context.Context, t int, now time.Time) error {
	o.mu.Lock()
	defer o.mu.Unlock()
	if len(o.held) >= t {
		return nil
	}
	o.wipe()
	o.held, o.fetched = map[int][]byte{}, now
	failed := map[int]error{}
	for next := 0; next < o.N && len(o.held) < t; {
		batch := min(t-len(o.held), o.N-next)
		o.fetch(ctx, next, batch, failed)
		next += batch
	}
	if len(o.held) >= t {
		return nil
	}
	o.wipe()
	return lack(o.Shares, o.N, failed)
}

// fetch gets count shares, counted from o.first on.
func (o *Opener) fetch(ctx context.Context, from, count int, failed map[int]error) {
	var wg sync.WaitGroup
	var mu sync.Mutex
	for k := range count {
		i := (o.first + from + k) % o.N
		wg.Go(func() {
			s, err := o.Shares.Get(ctx, o.Shares.Share(i))
			mu.Lock()
			defer mu.Unlock()
			if err != nil {
				failed[i] = err
				return
			}
			o.held[i] = s
		})
	}
	wg.Wait()
}

// lack tells shares that are gone or unreadable from a custody that does not
// answer or lets nobody in, of which nothing can be concluded.
func lack(src Source, n int, failed map[int]error) error {
	e := &TooFewError{}
	var causes []error
	for i := range n {
		err, ok := failed[i]
		if !ok {
			continue
		}
		if errors.Is(err, custody.ErrUnavailable) || errors.Is(err, custody.ErrDenied) || errors.Is(err, context.Canceled) {
			return fmt.Errorf("fetching shares: %w", err)
		}
		e.Missing = append(e.Missing, src.Share(i))
		causes = append(causes, err)
	}
	e.Causes = causes[0]
	return e
}

// Open submits t shares and overwrites them. opened is false, without an
// error, if Vault took all of them but needs to fetch its data from the active
// pod first. at is what Vault said last of its seal.
func (o *Opener) Open(ctx context.Context, t int, at vault.Seal, now time.Time) (opened bool, err error) {
	if err := o.Fetch(ctx, t, now); err != nil {
		return false, err
	}
	o.mu.Lock()
	defer o.mu.Unlock()
	defer o.wipe()
	order := make([][]byte, 0, t)
	for k := 0; k < o.N && len(order) < t; k++ {
		if s, ok := o.held[(o.first+k)%o.N]; ok {
			order = append(order, s)
		}
	}
	for range attempts {
		opened, err = o.submit(ctx, order, at.Progress != 0)
		if !errors.Is(err, ErrDisturbed) {
			break
		}
		at.Progress = 1 // unknown: reset before the next attempt
	}
	if errors.Is(err, ErrWrong) {
		o.first = (o.first + 1) % o.N // next time begin with another share
	}
	return opened, err
}

// submit goes through one attempt. Vault counts the shares of everybody, so
// after ours the count and the attempt's nonce must be what ours alone make
// them; otherwise somebody interfered.
func (o *Opener) submit(ctx context.Context, shares [][]byte, reset bool) (opened bool, err error) {
	if reset {
		if _, err := o.Vault.ResetUnseal(ctx); err != nil {
			return false, err
		}
	}
	var nonce string
	for i, share := range shares {
		last := i == len(shares)-1
		s, err := o.Vault.Submit(ctx, share)
		switch {
		case err != nil && last && vault.Invalid(err):
			return false, fmt.Errorf("%w (%w)", ErrWrong, err)
		case err != nil && vault.Invalid(err):
			return false, ErrDisturbed // too early for an attempt to be complete by ours alone
		case err != nil:
			return false, err
		case !s.Sealed:
			return true, nil
		case last && s.Progress == 0:
			return false, nil // all taken; joining raft
		case s.Progress != i+1 || (nonce != "" && s.Nonce != nonce):
			return false, ErrDisturbed
		}
		nonce = s.Nonce
	}
	return false, ErrDisturbed
}

package seal

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"testing"
	"time"

	"github.com/hashicorp/vault/api"
	"github.com/vaultproof/vaultproof/bootstrap/keys"
	"github.com/vaultproof/vaultproof/bootstrap/vault"
	"github.com/vaultproof/vaultproof/pkg/custody"
)

// door counts shares as Vault does.
type door struct {
	good      map[string]bool
	threshold int
	parts     []string
	attempt   int
	resets    int
	before    func(d *door) // a third party's moment, before each submission
	joins     bool          // a full set starts a raft join instead of opening
}

func (d *door) ResetUnseal(context.Context) (vault.Seal, error) {
	d.resets++
	d.parts = nil
	return d.seal(true), nil
}

func (d *door) Submit(_ context.Context, share []byte) (vault.Seal, error) {
	if d.before != nil {
		d.before(d)
	}
	return d.post(string(share))
}

func (d *door) post(share string) (vault.Seal, error) {
	if slices.Contains(d.parts, share) {
		return d.seal(true), nil
	}
	if len(d.parts) == 0 {
		d.attempt++
	}
	d.parts = append(d.parts, share)
	if len(d.parts) < d.threshold {
		return d.seal(true), nil
	}
	full := d.parts
	d.parts = nil
	for _, p := range full {
		if !d.good[p] {
			return vault.Seal{}, fmt.Errorf("submitting: %w", &api.ResponseError{StatusCode: http.StatusBadRequest})
		}
	}
	return d.seal(d.joins), nil
}

func (d *door) seal(sealed bool) vault.Seal {
	return vault.Seal{Initialised: true, Sealed: sealed, Threshold: d.threshold, Progress: len(d.parts), Nonce: fmt.Sprint(d.attempt)}
}

// source is custody with five shares, some of which fail.
type source struct {
	fails map[int]error
	bad   map[int]bool
}

func (s *source) Share(i int) string { return fmt.Sprintf("share-%d", i) }

func (s *source) Get(_ context.Context, id string) ([]byte, error) {
	var i int
	if _, err := fmt.Sscanf(id, "share-%d", &i); err != nil {
		return nil, err
	}
	if err := s.fails[i]; err != nil {
		return nil, &keys.Failure{ID: id, Err: err}
	}
	if s.bad[i] {
		return []byte("of another Vault"), nil
	}
	return []byte(id), nil
}

func newDoor() *door {
	d := &door{threshold: 3, good: map[string]bool{}}
	for i := range 5 {
		d.good[fmt.Sprintf("share-%d", i)] = true
	}
	return d
}

func open(t *testing.T, d *door, s *source, at vault.Seal) (bool, *Opener, error) {
	t.Helper()
	o := &Opener{Vault: d, Shares: lockedSource{make(chan struct{}, 1), s}, N: 5}
	opened, err := o.Open(t.Context(), 3, at, time.Now())
	if o.Warm(time.Now()) {
		t.Error("shares are still in memory after the attempt")
	}
	return opened, o, err
}

func TestOpen(t *testing.T) {
	opened, _, err := open(t, newDoor(), &source{}, vault.Seal{})
	if !opened || err != nil {
		t.Errorf("opened %t, error %v", opened, err)
	}
}

func TestOpenJoining(t *testing.T) {
	d := newDoor()
	d.joins = true
	if opened, _, err := open(t, d, &source{}, vault.Seal{}); opened || err != nil {
		t.Errorf("opened %t, error %v; want neither while Vault joins raft", opened, err)
	}
}

func TestOpenWithTwoSharesGone(t *testing.T) {
	opened, _, err := open(t, newDoor(), &source{fails: map[int]error{0: custody.ErrNotFound, 2: custody.ErrCorrupt}}, vault.Seal{})
	if !opened || err != nil {
		t.Errorf("opened %t, error %v; three shares are left", opened, err)
	}
}

func TestOpenTooFew(t *testing.T) {
	_, _, err := open(t, newDoor(), &source{fails: map[int]error{0: custody.ErrNotFound, 2: custody.ErrNotFound, 4: custody.ErrNotFound}}, vault.Seal{})
	var few *TooFewError
	if !errors.As(err, &few) || !slices.Equal(few.Missing, []string{"share-0", "share-2", "share-4"}) {
		t.Errorf("error %v; want one that names the three shares", err)
	}
}

// A custody that does not answer, or denies, says nothing about the shares.
func TestOpenCustodyOutOfReach(t *testing.T) {
	for _, kind := range []error{custody.ErrUnavailable, custody.ErrDenied} {
		fails := map[int]error{}
		for i := range 5 {
			fails[i] = kind
		}
		_, _, err := open(t, newDoor(), &source{fails: fails}, vault.Seal{})
		var few *TooFewError
		if !errors.Is(err, kind) || errors.As(err, &few) {
			t.Errorf("error %v; want custody's %v, not missing shares", err, kind)
		}
	}
}

func TestOpenResetsForeignProgress(t *testing.T) {
	d := newDoor()
	if _, err := d.post("bogus"); err != nil {
		t.Fatal(err)
	}
	opened, _, err := open(t, d, &source{}, d.seal(true))
	if !opened || err != nil || d.resets != 1 {
		t.Errorf("opened %t, error %v, %d resets; want a reset first", opened, err, d.resets)
	}
}

func TestOpenAgainstThirdParty(t *testing.T) {
	d := newDoor()
	moments := 0
	d.before = func(d *door) {
		// Three bogus shares, at the worst moments.
		if moments++; moments == 2 || moments == 4 || moments == 7 {
			_, _ = d.post(fmt.Sprintf("bogus-%d", moments))
		}
	}
	opened, _, err := open(t, d, &source{}, vault.Seal{})
	if !opened || err != nil {
		t.Errorf("opened %t, error %v; want it to win in the end", opened, err)
	}
}

func TestOpenAgainstFlood(t *testing.T) {
	d := newDoor()
	n := 0
	d.before = func(d *door) { n++; _, _ = d.post(fmt.Sprintf("bogus-%d", n)) }
	_, _, err := open(t, d, &source{}, vault.Seal{})
	if !errors.Is(err, ErrDisturbed) {
		t.Errorf("error %v; want one that tells of the other party", err)
	}
}

// One share in custody belongs to another Vault: found by trying others.
func TestOpenAroundOneWrongShare(t *testing.T) {
	d, s := newDoor(), &source{bad: map[int]bool{1: true}}
	opened, o, err := open(t, d, s, vault.Seal{})
	if opened || !errors.Is(err, ErrWrong) {
		t.Fatalf("opened %t, error %v; want the shares called wrong", opened, err)
	}
	for try := 1; !opened; try++ {
		if try == 5 {
			t.Fatal("no set of shares was tried that leaves the wrong one out")
		}
		opened, _ = o.Open(t.Context(), 3, vault.Seal{}, time.Now())
	}
}

func TestSharesAreDroppedInTime(t *testing.T) {
	o := &Opener{Vault: newDoor(), Shares: lockedSource{make(chan struct{}, 1), &source{}}, N: 5}
	begin := time.Now()
	if err := o.Fetch(t.Context(), 3, begin); err != nil {
		t.Fatal(err)
	}
	held := o.held[0]
	if !o.Warm(begin.Add(HoldFor)) {
		t.Error("shares were dropped too early")
	}
	if o.Warm(begin.Add(HoldFor + time.Second)) {
		t.Error("shares are held for too long")
	}
	if !slices.Equal(held, make([]byte, len(held))) {
		t.Error("a dropped share was not overwritten")
	}
}

// lockedSource makes a source fit for concurrent use.
type lockedSource struct {
	lock chan struct{}
	*source
}

func (l lockedSource) Get(ctx context.Context, id string) ([]byte, error) {
	l.lock <- struct{}{}
	defer func() { <-l.lock }()
	return l.source.Get(ctx, id)
}

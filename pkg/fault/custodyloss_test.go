package fault

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"testing"

	"github.com/vaultproof/vaultproof/pkg/custody"
)

// fakeVersions is a custody of versions; refuse is the error of Disable for a
// secret.
type fakeVersions struct {
	state  map[string][]custody.Version
	refuse map[string]error
	deaf   bool // Disable says yes and does nothing
}

func (f *fakeVersions) Versions(_ context.Context, id string) ([]custody.Version, error) {
	v, ok := f.state[id]
	if !ok {
		return nil, custody.ErrNotFound
	}
	return v, nil
}

func (f *fakeVersions) set(id, version string, s custody.State) {
	for i, v := range f.state[id] {
		if v.Name == version {
			f.state[id][i].State = s
		}
	}
}

func (f *fakeVersions) Disable(_ context.Context, id, version string) error {
	if err := f.refuse[id]; err != nil || f.deaf {
		return err
	}
	f.set(id, version, custody.Disabled)
	return nil
}

func (f *fakeVersions) Enable(_ context.Context, id, version string) error {
	f.set(id, version, custody.Enabled)
	return nil
}

func twoShares() *fakeVersions {
	return &fakeVersions{state: map[string][]custody.Version{
		"share-0": {{Name: "2", State: custody.Enabled}, {Name: "1", State: custody.Disabled}},
		"share-1": {{Name: "1", State: custody.Enabled}},
	}}
}

func journalled(t *testing.T) (*Journal, func() []Entry) {
	t.Helper()
	path := filepath.Join(t.TempDir(), JournalFile)
	journal, err := OpenJournal(path, "r")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { journal.Close() })
	return journal, func() []Entry {
		file, err := os.Open(path)
		if err != nil {
			t.Fatal(err)
		}
		defer file.Close()
		open, err := Open(file)
		if err != nil {
			t.Fatal(err)
		}
		return open
	}
}

func TestCustodyLossAndBack(t *testing.T) {
	store := twoShares()
	journal, open := journalled(t)
	lost, err := (&CustodyLoss{Custody: store, Journal: journal, Secrets: []string{"share-0", "share-1"}}).Inject(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if n := len(open()); n != 2 {
		t.Errorf("%d versions are in the journal, want the 2 that were enabled", n)
	}
	if _, err := lost.Witness(t.Context()); err != nil {
		t.Error(err)
	}
	if err := lost.Recover(t.Context()); err != nil {
		t.Fatal(err)
	}
	if got := store.state["share-0"]; got[0].State != custody.Enabled || got[1].State != custody.Disabled {
		t.Errorf("versions afterwards %v, want what was enabled enabled, and the other left alone", got)
	}
	if left := open(); len(left) != 0 {
		t.Errorf("the journal still has %v", left)
	}
}

func TestCustodyLossWithoutEffectHasNoWitness(t *testing.T) {
	store := twoShares()
	store.deaf = true
	lost, err := (&CustodyLoss{Custody: store, Secrets: []string{"share-1"}}).Inject(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if _, err := lost.Witness(t.Context()); !errors.Is(err, ErrNoWitness) {
		t.Errorf("%v, want ErrNoWitness", err)
	}
}

func TestCustodyLossThatIsRefusedIsUndone(t *testing.T) {
	store := twoShares()
	store.refuse = map[string]error{"share-1": custody.ErrDenied}
	journal, open := journalled(t)
	_, err := (&CustodyLoss{Custody: store, Journal: journal, Secrets: []string{"share-0", "share-1"}}).Inject(t.Context())
	if !errors.Is(err, ErrUnavailable) {
		t.Errorf("%v, want ErrUnavailable", err)
	}
	if store.state["share-0"][0].State != custody.Enabled {
		t.Error("share-0 stays disabled though nothing was injected")
	}
	if left := open(); len(left) != 0 {
		t.Errorf("the journal still has %v", left)
	}
	if _, err := (&CustodyLoss{Custody: &fakeVersions{state: map[string][]custody.Version{"s": nil}}, Secrets: []string{"s"}}).Inject(t.Context()); !errors.Is(err, ErrUnavailable) {
		t.Errorf("nothing to lose: %v, want ErrUnavailable", err)
	}
}

func TestEnableVersionOfWhatIsGone(t *testing.T) {
	for _, ref := range []Ref{{Namespace: "gone", Name: "1"}, {Namespace: "share-0", Name: "9"}, {Namespace: "share-1", Name: "1"}} {
		if err := EnableVersion(t.Context(), twoShares(), ref); err != nil {
			t.Errorf("%v: %v", ref, err)
		}
	}
}

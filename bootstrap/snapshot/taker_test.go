package snapshot

import (
	"bytes"
	"context"
	"errors"
	"io"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/vaultproof/vaultproof/bootstrap/objectstore"
)

// fakeVault gives a snapshot each time, or what is set.
type fakeVault struct {
	mu      sync.Mutex
	standby bool
	err     error
	raw     []byte
	asked   int
}

func (v *fakeVault) Active(context.Context) (bool, error) {
	v.mu.Lock()
	defer v.mu.Unlock()
	return !v.standby, nil
}

func (v *fakeVault) Snapshot(_ context.Context, token []byte) (io.ReadCloser, error) {
	v.mu.Lock()
	defer v.mu.Unlock()
	v.asked++
	if v.err != nil {
		return nil, v.err
	}
	return io.NopCloser(bytes.NewReader(v.raw)), nil
}

// count gives how often it was asked.
func (v *fakeVault) count() int {
	v.mu.Lock()
	defer v.mu.Unlock()
	return v.asked
}

func (v *fakeVault) set(change func(*fakeVault)) {
	v.mu.Lock()
	defer v.mu.Unlock()
	change(v)
}

type fixedToken string

func (f fixedToken) Token(context.Context) ([]byte, error) { return []byte(f), nil }

// spoiling gives other bytes than were put, while on.
type spoiling struct {
	objectstore.Store
	on bool
}

func (s *spoiling) Get(ctx context.Context, name string) (io.ReadCloser, error) {
	if s.on {
		return io.NopCloser(strings.NewReader("rot")), nil
	}
	return s.Store.Get(ctx, name)
}

// bench is a Taker on a folder.
type bench struct {
	t       *testing.T
	vault   *fakeVault
	store   *spoiling
	taker   *Taker
	log     bytes.Buffer
	mu      sync.Mutex
	reports []Report
}

func newBench(t *testing.T, keep int) *bench {
	t.Helper()
	store, err := objectstore.Open(objectstore.Options{URL: "file://" + t.TempDir()})
	if err != nil {
		t.Fatal(err)
	}
	b := &bench{t: t, vault: &fakeVault{raw: pack(whole(1000))}, store: &spoiling{Store: store}}
	b.taker = New(Options{Source: b.vault, Tokens: fixedToken("hvs.snapshot"), Store: b.store, Every: time.Hour, Keep: keep,
		Report: b.report, Log: slog.New(slog.NewJSONHandler(&b.log, nil))})
	return b
}

func (b *bench) names() (out []string) {
	b.t.Helper()
	all, err := b.store.List(b.t.Context(), "")
	if err != nil {
		b.t.Fatal(err)
	}
	for _, o := range all {
		out = append(out, o.Name)
	}
	return out
}

// run lets the taker work in a bubble of time, while with does what it does.
func (b *bench) run(with func()) {
	ctx, cancel := context.WithCancel(b.t.Context())
	var wg sync.WaitGroup
	wg.Go(func() { b.taker.Run(ctx) })
	with()
	cancel()
	wg.Wait()
}

func (b *bench) report(r Report) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.reports = append(b.reports, r)
}

func (b *bench) last() Report {
	b.t.Helper()
	b.mu.Lock()
	defer b.mu.Unlock()
	if len(b.reports) == 0 {
		b.t.Fatal("nothing was reported")
	}
	return b.reports[len(b.reports)-1]
}

func TestSchedule(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t, 3)
		start := time.Now()
		b.run(func() {
			time.Sleep(24 * time.Hour)
			synctest.Wait()
			if b.vault.count() != 0 {
				t.Error("a snapshot was taken beside a standby")
			}
			b.taker.Role(true)
			synctest.Wait()
			if b.vault.count() != 1 {
				t.Errorf("%d snapshots at once on becoming active with none there; want 1", b.vault.count())
			}
			time.Sleep(10 * time.Hour)
			synctest.Wait()
			if n := b.vault.count(); n < 10 || n > 11 {
				t.Errorf("%d snapshots in 10 hours", n)
			}
			if got := b.names(); len(got) != 3 {
				t.Errorf("kept are %q, want 3", got)
			}
			r := b.last()
			if r.Error != "" || r.Last.Index != 39 || r.Last.Size != int64(len(b.vault.raw)) || r.Last.At.Before(start) || r.Next.Before(r.Last.At.Add(time.Hour)) {
				t.Errorf("report %+v", r)
			}
			b.taker.Role(false)
			before := b.vault.count()
			time.Sleep(10 * time.Hour)
			synctest.Wait()
			if b.vault.count() != before {
				t.Error("it went on after the role was lost")
			}
		})
		if strings.Contains(b.log.String(), "hvs.") {
			t.Error("the log holds the token")
		}
	})
}

// TestScheduleGoesByTheStore: another pod took one half an hour ago.
func TestScheduleGoesByTheStore(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t, 3)
		if err := b.store.Put(t.Context(), Name(time.Now().Add(-30*time.Minute), 7), strings.NewReader("x")); err != nil {
			t.Fatal(err)
		}
		b.taker.Role(true)
		b.run(func() {
			time.Sleep(29 * time.Minute)
			synctest.Wait()
			if b.vault.count() != 0 {
				t.Error("one was taken before it was due")
			}
			time.Sleep(8 * time.Minute)
			synctest.Wait()
			if b.vault.count() != 1 {
				t.Errorf("%d were taken when one was due", b.vault.count())
			}
		})
	})
}

// TestFailure: it tries again with growing pauses, tells why, and recovers.
func TestFailure(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t, 3)
		b.vault.err = errors.New("Vault is busy")
		b.taker.Role(true)
		b.run(func() {
			time.Sleep(time.Hour)
			synctest.Wait()
			if n := b.vault.count(); n < 6 || n > 20 {
				t.Errorf("%d attempts in an hour of failures", n)
			}
			if r := b.last(); !strings.Contains(r.Error, "Vault is busy") || r.Last.Name != "" || r.Next.IsZero() {
				t.Errorf("report %+v", r)
			}
			b.vault.set(func(v *fakeVault) { v.err = nil })
			time.Sleep(lastRetry)
			synctest.Wait()
			if r := b.last(); r.Error != "" || r.Last.Name == "" {
				t.Errorf("report %+v after it works again", r)
			}
		})
	})
}

// TestOldOnesOutliveAFailure: none is deleted before the new one was read back.
func TestOldOnesOutliveAFailure(t *testing.T) {
	old := []string{Name(time.Unix(1e9, 0), 1), Name(time.Unix(2e9, 0), 2)}
	for name, spoil := range map[string]func(*bench){
		"torn":          func(b *bench) { b.vault.raw = b.vault.raw[:len(b.vault.raw)-30] },
		"no snapshot":   func(b *bench) { b.vault.raw = []byte("oops") },
		"Vault gave up": func(b *bench) { b.vault.raw = pack(whole(10)[:3]) },
		"rots in store": func(b *bench) { b.store.on = true },
		"not active":    func(b *bench) { b.vault.standby = true },
	} {
		t.Run(name, func(t *testing.T) {
			b := newBench(t, 1)
			for _, o := range old {
				if err := b.store.Put(t.Context(), o, strings.NewReader("x")); err != nil {
					t.Fatal(err)
				}
			}
			spoil(b)
			if done, err := b.taker.Take(t.Context()); err == nil || done.Name != "" {
				t.Errorf("%+v, error %v; want a failure", done, err)
			} else {
				t.Log(err)
			}
			got := b.names()
			for _, o := range old {
				if !slices.Contains(got, o) {
					t.Errorf("%s was deleted; left are %q", o, got)
				}
			}
			if name != "rots in store" && len(got) != len(old) {
				t.Errorf("a bad snapshot was stored: %q", got)
			}
		})
	}
}

func TestPruneKnowsItsOwn(t *testing.T) {
	b := newBench(t, 1)
	foreign := []string{"vault-backup.snap", "vault-20260102T030405Z-x.snap", "vault-2026-7.snap", "notes"}
	for _, name := range append(foreign, Name(time.Unix(1e9, 0), 1)) {
		if err := b.store.Put(t.Context(), name, strings.NewReader("x")); err != nil {
			t.Fatal(err)
		}
	}
	done, err := b.taker.Take(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	want := append(slices.Clone(foreign), done.Name)
	slices.Sort(want)
	if got := b.names(); !slices.Equal(got, want) {
		t.Errorf("left are %q, want %q", got, want)
	}
	if name, err := Latest(t.Context(), b.store); err != nil || name != done.Name {
		t.Errorf("the newest is %q, error %v", name, err)
	}
}

func TestLatestOfNone(t *testing.T) {
	b := newBench(t, 1)
	if _, err := Latest(t.Context(), b.store); !errors.Is(err, ErrNone) {
		t.Errorf("error %v", err)
	}
}

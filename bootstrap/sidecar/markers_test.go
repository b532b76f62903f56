package sidecar

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/vaultproof/vaultproof/bootstrap/keys"
	"github.com/vaultproof/vaultproof/bootstrap/machine"
	"github.com/vaultproof/vaultproof/bootstrap/storage"
	"github.com/vaultproof/vaultproof/bootstrap/vault"
	"github.com/vaultproof/vaultproof/fixtures/secretmanager"
)

// fakePod is the own pod in Kubernetes.
type fakePod struct {
	mu      sync.Mutex
	hold    map[string]string
	err     error         // of reading and deleting
	hangs   chan struct{} // reading waits for it, if set
	deleted int
}

func (p *fakePod) Annotations(ctx context.Context) (map[string]string, error) {
	p.mu.Lock()
	hold, err, hangs := p.hold, p.err, p.hangs
	p.mu.Unlock()
	if hangs != nil {
		select {
		case <-hangs:
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
	return hold, err
}

func (p *fakePod) Delete(context.Context) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.deleted++
	return p.err
}

func (p *fakePod) set(change func(*fakePod)) {
	p.mu.Lock()
	defer p.mu.Unlock()
	change(p)
}

// mark gives the bench a folder for markers, and marks the storage under the
// claim that stands.
func mark(b *bench, purpose storage.Purpose) *storage.Dir {
	b.t.Helper()
	b.folder = b.t.TempDir()
	d, err := storage.Open(b.folder)
	must(b.t, err)
	b.options.Markers = d
	if purpose != "" {
		c, err := b.ring.ReadClaim(b.t.Context())
		must(b.t, err)
		must(b.t, d.Begin(storage.Fresh{Purpose: purpose, Claim: c.ID(), At: time.Now()}))
	}
	return d
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// keep puts the first n shares into custody.
func keep(b *bench, n int) {
	for i := range n {
		must(b.t, b.ring.Put(b.t.Context(), b.ring.Share(i), []byte{'a' + byte(i)}))
	}
}

// TestRebuild is the state between sys/init and custody, in all its variants:
// in which the storage is asked to be emptied, and in which it never is.
func TestRebuild(t *testing.T) {
	sign := func(b *bench) {
		_, err := b.ring.Sign(b.t.Context(), keys.Claim{Holder: "vault-0", Phase: keys.Stored, At: time.Now()})
		must(b.t, err)
	}
	ours := func(b *bench) { take(b, "vault-0"); mark(b, storage.Init) }
	tests := map[string]struct {
		prepare func(*bench)
		row     string
		asked   bool
	}{
		"no key stored":            {ours, "sealed-rebuild", true},
		"some shares stored":       {func(b *bench) { ours(b); keep(b, 2) }, "sealed-rebuild", true},
		"enough shares, root lost": {func(b *bench) { ours(b); keep(b, 3) }, "sealed-rebuild", true},
		"a restore was cut short":  {func(b *bench) { take(b, "vault-0"); sign(b); keep(b, 5); mark(b, storage.Restore) }, "sealed-rebuild", true},
		"a peer asked that restore": {func(b *bench) {
			take(b, "vault-0")
			mark(b, storage.Restore)
			peer(b, &fakeVault{initialised: true, sealed: true})
		}, "sealed-rebuild", true},
		"a peer is open":               {func(b *bench) { take(b, "vault-0"); mark(b, storage.Restore); peer(b, &fakeVault{initialised: true}) }, "sealed-fresh-peer-has-data", false},
		"storage not marked":           {func(b *bench) { take(b, "vault-0"); mark(b, "") }, "sealed-too-few-shares", false},
		"without a folder":             {func(b *bench) { take(b, "vault-0") }, "sealed-too-few-shares", false},
		"claim complete, keys there":   {func(b *bench) { ours(b); keep(b, 5); sign(b) }, "open-standby", false},
		"claim complete, shares lost":  {func(b *bench) { ours(b); keep(b, 2); sign(b) }, "sealed-too-few-shares", false},
		"claim of another":             {func(b *bench) { take(b, "other-0"); mark(b, storage.Init) }, "sealed-fresh-foreign", false},
		"claim gone":                   {func(b *bench) { mark(b, storage.Init) }, "sealed-fresh-foreign", false},
		"a peer has data":              {func(b *bench) { ours(b); peer(b, &fakeVault{initialised: true, sealed: true}) }, "sealed-fresh-peer-has-data", false},
		"custody denies":               {func(b *bench) { ours(b); b.custody.Fault(secretmanager.Fault{Mode: secretmanager.FaultDeny}) }, "sealed-fresh-uninspected", false},
		"custody unavailable":          {func(b *bench) { ours(b); b.custody.Fault(secretmanager.Fault{Mode: secretmanager.FaultUnavailable}) }, "sealed-fresh-uninspected", false},
		"the mark is torn":             {func(b *bench) { ours(b); garble(b) }, "sealed-storage-unread", false},
		"a restore is under way":       {func(b *bench) { take(b, "vault-0"); lock(b, mark(b, storage.Restore)) }, "restoring", false},
		"held by an admin":             {func(b *bench) { ours(b); b.pod.hold = map[string]string{machine.HoldAnnotation: "wait"} }, "sealed-held", false},
		"opened by hand in the window": {func(b *bench) { ours(b); b.vault.sealed = false }, "open-standby", false},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			b := newBench(t, "vault-0", 0)
			b.vault.initialised = true
			b.options.Self = b.pod
			tt.prepare(b)
			settled := thrice(tt.row)
			b.until("in row "+tt.row, func(s *Sidecar, turn machine.Turn) bool {
				if tt.row == "open-standby" { // its pace is that of a healthy Vault
					return row(tt.row)(s, turn)
				}
				return settled(s, turn)
			})
			_, fresh := os.Stat(filepath.Join(b.folder, "fresh"))
			_, asked := os.Stat(filepath.Join(b.folder, "rebuild"))
			if b.folder != "" && (asked == nil) != tt.asked {
				t.Errorf("asked to be emptied: %t, want %t", asked == nil, tt.asked)
			}
			if want := map[bool]int{true: 1}[tt.asked]; b.pod.deleted != want {
				t.Errorf("the pod was deleted %d times, want %d", b.pod.deleted, want)
			}
			if tt.row == "open-standby" && !errors.Is(fresh, os.ErrNotExist) {
				t.Error("an open Vault's storage is still marked as never opened")
			}
			if n := b.vault.initCalls(); n != 0 {
				t.Errorf("sys/init was called %d times", n)
			}
		})
	}
}

func peer(b *bench, v *fakeVault) {
	b.options.Peers = map[string]*vault.Client{"vault-2": b.client(v)}
}

func garble(b *bench) {
	must(b.t, os.WriteFile(filepath.Join(b.folder, "fresh"), []byte(`{"purpose":"in`), 0o600))
}

func lock(b *bench, d *storage.Dir) {
	release, err := d.Lock()
	must(b.t, err)
	b.t.Cleanup(func() { must(b.t, release()) })
}

// TestAfterARestore: once the restore is through, the sidecar takes over again.
func TestAfterARestore(t *testing.T) {
	b := newBench(t, "vault-0", 0)
	b.vault.initialised, b.vault.sealed = true, false
	d := mark(b, "")
	release, err := d.Lock()
	must(t, err)
	waited := false
	b.until("serving", func(s *Sidecar, turn machine.Turn) bool {
		if row("restoring")(s, turn) && !waited {
			waited = true
			must(t, release())
		}
		return row("open-standby")(s, turn)
	})
	if !waited {
		t.Error("it did not wait for the restore")
	}
}

// TestMarkGoesBeforeTheFirstShare: Vault never sees a share while its storage
// is marked as never opened.
func TestMarkGoesBeforeTheFirstShare(t *testing.T) {
	b := newBench(t, "vault-0", 0)
	mark(b, "")
	marked, unmarked := false, false
	b.vault.onCall = func(path string) {
		_, err := os.Stat(filepath.Join(b.folder, "fresh"))
		switch path {
		case "/v1/sys/init":
			marked = err == nil
		case "/v1/sys/unseal":
			unmarked = errors.Is(err, os.ErrNotExist)
		}
	}
	b.until("open", row("open-standby"))
	if !marked || !unmarked {
		t.Errorf("marked at sys/init: %t, unmarked at the first share: %t; want both", marked, unmarked)
	}
}

// TestRebuiltAnew: the storage was emptied, and custody holds keys of the life
// before it. They are disabled, and new ones take their place.
func TestRebuiltAnew(t *testing.T) {
	b := newBench(t, "vault-0", 0)
	take(b, "vault-0")
	for i := range 4 {
		must(t, b.ring.Put(t.Context(), b.ring.Share(i), []byte("lost")))
	}
	d := mark(b, storage.Init)
	must(t, d.AskRebuild()) // as left behind if Vault's container died after it emptied the storage
	b.until("open", row("open-standby"))
	if n := b.vault.initCalls(); n != 1 {
		t.Errorf("sys/init was called %d times", n)
	}
	if inv, err := b.ring.Inventory(t.Context()); err != nil || inv.Live != 6 {
		t.Errorf("inventory %+v, error %v; want 5 shares and a root token", inv, err)
	}
	store := b.custody.Client(b.custody.Config("vault", "vault"))
	if v, err := store.Versions(t.Context(), b.ring.Share(1)); err != nil || len(v) != 2 || v[0].State != "enabled" || v[1].State != "disabled" {
		t.Errorf("versions %+v, error %v; want the lost one disabled", v, err)
	}
	if asked, err := d.RebuildAsked(); asked || err != nil {
		t.Errorf("still asked to be emptied: %t, error %v", asked, err)
	}
}

// TestRetireDenied: who may not disable versions still gets a Vault.
func TestRetireDenied(t *testing.T) {
	b := newBench(t, "vault-0", 0)
	take(b, "vault-0")
	keep(b, 2)
	mark(b, storage.Init)
	b.custody.Fault(secretmanager.Fault{Mode: secretmanager.FaultDeny, Method: "DisableSecretVersion"})
	b.until("open", row("open-standby"))
}

// TestRestartTrouble: what keeps the pod from being deleted is told, with the
// command for it.
func TestRestartTrouble(t *testing.T) {
	b := newBench(t, "vault-0", 0)
	b.vault.initialised = true
	take(b, "vault-0")
	mark(b, storage.Init)
	b.pod.err = errors.New("forbidden: it may not delete pods")
	b.options.Self = b.pod
	b.until("telling", func(_ *Sidecar, turn machine.Turn) bool {
		text := turn.Decision.Text
		return turn.Decision.Name == "sealed-rebuild" && strings.Contains(text, "may not delete") && strings.Contains(text, "kubectl delete pod vault-0")
	})
	if b.pod.deleted < 1 {
		t.Error("deleting the pod was never tried")
	}
}

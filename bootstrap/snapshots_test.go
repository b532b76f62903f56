package main

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/vaultproof/vaultproof/bootstrap/machine"
	"github.com/vaultproof/vaultproof/bootstrap/snapshot"
	"github.com/vaultproof/vaultproof/bootstrap/status"
	"github.com/vaultproof/vaultproof/bootstrap/storage"
)

// TestSnapshots: the active of two real Vaults stores snapshots that are whole, and
// after a step-down the other one goes on.
func TestSnapshots(t *testing.T) {
	r := newRig(t, 2)
	dir := r.Path("snapshots")
	must(t, os.Mkdir(dir, 0o700))
	for _, p := range r.pods {
		p.extra = []string{"-snapshot-url", "file://" + dir, "-snapshot-every", "1s", "-snapshot-keep", "2"}
		p.startVault()
		p.startSidecar()
	}
	for _, p := range r.pods {
		p.await("ready", settle, ready)
	}
	took := func(s status.Status) bool { return s.Snapshot != nil && s.Snapshot.Name != "" }
	first := r.active()
	s := first.await("having taken a snapshot", settle, took)
	if s.Snapshot.LastError != "" || s.Snapshot.SizeBytes == 0 || s.Snapshot.Next.Before(s.Snapshot.At) || s.TokenTTLSeconds["snapshot"] <= 0 {
		t.Errorf("snapshot %+v, tokens %v", s.Snapshot, s.TokenTTLSeconds)
	}
	if got := len(r.versions()); got != 11 {
		t.Errorf("custody holds %d secrets, want one more than without snapshots", got)
	}
	must(t, first.Client(r.secret(r.Ring.Root())).Sys().StepDown())
	first.await("standby without tokens", settle, func(s status.Status) bool { return s.Role == "standby" && len(s.TokenTTLSeconds) == 0 })
	r.active().await("having taken a snapshot", settle, took)
	for _, p := range r.pods {
		must(t, p.stop())
	}
	kept, err := filepath.Glob(filepath.Join(dir, "vault-*.snap"))
	must(t, err)
	if len(kept) < 1 || len(kept) > 3 { // a pod may be stopped before it deletes the oldest
		t.Fatalf("snapshots %v, want about the newest 2", kept)
	}
	for _, name := range kept {
		f, err := os.Open(name)
		must(t, err)
		info, err := snapshot.Check(f)
		must(t, err)
		must(t, f.Close())
		t.Logf("%s: raft index %d, %d shares", filepath.Base(name), info.Index, info.Shares)
	}
}

func TestWorthTaking(t *testing.T) {
	good := machine.Facts{Role: machine.Active, Provisioned: true}
	for name, tt := range map[string]struct {
		change func(*machine.Facts)
		want   bool
	}{
		"active":                {func(*machine.Facts) {}, true},
		"standby":               {func(f *machine.Facts) { f.Role = machine.Standby }, false},
		"in a restore":          {func(f *machine.Facts) { f.Fresh = storage.Restore }, false},
		"tokens not looked at":  {func(f *machine.Facts) { f.Provisioned = false }, false},
		"tokens in trouble":     {func(f *machine.Facts) { f.Provisioned, f.Provision.Kind = false, "failing" }, true},
		"served with a caution": {func(f *machine.Facts) { f.Provision.Kind = "reservation" }, true},
	} {
		f := good
		tt.change(&f)
		if got := worthTaking(f); got != tt.want {
			t.Errorf("%s: %t, want %t", name, got, tt.want)
		}
	}
}

package provision

import (
	"errors"
	"testing"
	"time"

	"github.com/vaultproof/vaultproof/fixtures/secretmanager"
)

// TestSnapshotToken: there is one only where snapshots are taken, and no root
// token is needed to turn that on.
func TestSnapshotToken(t *testing.T) {
	r := newRig(t)
	off := r.ensure()
	if r.states(r.Ring.Root()) != "destroyed" {
		t.Fatal("the root token is not gone")
	}
	if _, there := r.everything()[r.Ring.Snapshot()]; there || len(off.Tokens) != 2 {
		t.Errorf("without snapshots, secret %s exists: %t, tokens %v", r.Ring.Snapshot(), there, off.Tokens)
	}

	r.Snapshots = true
	r.custody.Fault(secretmanager.Fault{Mode: secretmanager.FaultDeny, Secret: r.Ring.Snapshot(), Method: "AddSecretVersion"})
	r.ensure(r.Ring.Snapshot(), "no snapshot is taken", "denied")
	r.custody.Heal()

	on := r.ensure()
	if err := r.fit(r.secret(r.Ring.Snapshot()), "snapshot"); err != nil {
		t.Error(err)
	}
	for _, name := range []string{"provisioner", "handover", "snapshot"} {
		if left := time.Until(on.Tokens[name]); left < 23*time.Hour || left > 24*time.Hour {
			t.Errorf("the %s token is said to be valid for %s, want its period of 24h", name, left)
		}
	}
	before := r.everything()
	r.ensure()
	r.unchanged(before)

	t.Run("what is known of tokens is told with an error", func(t *testing.T) {
		r.kill(r.secret(r.Ring.Provisioner()))
		got, err := r.Ensure(t.Context())
		if _, alive := got.Tokens["provisioner"]; !errors.Is(err, ErrDead) || alive || len(got.Tokens) != 2 {
			t.Errorf("tokens %v, error %v; want the two that live", got.Tokens, err)
		}
	})
	t.Run("what is not known is not told", func(t *testing.T) {
		r.custody.Fault(secretmanager.Fault{Mode: secretmanager.FaultDeny})
		defer r.custody.Heal()
		if got, err := r.Ensure(t.Context()); err == nil || got.Tokens != nil {
			t.Errorf("tokens %v, error %v", got.Tokens, err)
		}
	})
}

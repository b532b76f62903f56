package sidecar

import (
	"errors"
	"testing"
	"time"

	"github.com/vaultproof/vaultproof/bootstrap/machine"
)

func held(reason string) map[string]string { return map[string]string{machine.HoldAnnotation: reason} }

// sealedBench is a sealed Vault whose shares are all in custody.
func sealedBench(t *testing.T) *bench {
	b := newBench(t, "vault-1", 1)
	b.vault.initialised = true
	keep(b, 5)
	b.options.Self = b.pod
	return b
}

func TestHold(t *testing.T) {
	t.Run("set, then ended", func(t *testing.T) {
		b := sealedBench(t)
		b.pod.hold = held("incident 7")
		n := 0
		b.until("open after the hold", func(s *Sidecar, turn machine.Turn) bool {
			if turn.Decision.Name == "sealed-held" {
				if n++; n == 3 {
					if turn.Facts.Hold != "incident 7" || s.Ready() {
						t.Errorf("reason %q, ready %t", turn.Facts.Hold, s.Ready())
					}
					b.pod.set(func(p *fakePod) { p.hold = nil })
				}
			}
			return row("open-standby")(s, turn)
		})
		if n < 3 {
			t.Errorf("it was held for %d turns", n)
		}
	})
	t.Run("set just before a seal", func(t *testing.T) {
		b := sealedBench(t)
		b.vault.sealed = false
		sealed := false
		b.until("held", func(s *Sidecar, turn machine.Turn) bool {
			if row("open-standby")(s, turn) && !sealed { // the API server was just asked
				sealed = true
				b.pod.set(func(p *fakePod) { p.hold = held("maintenance") })
				b.vault.seals()
			}
			if sealed && turn.Decision.Step == machine.Unseal {
				t.Error("it was unsealed although the hold was there before the seal")
			}
			return row("sealed-held")(s, turn)
		})
	})
	t.Run("the API server fails, and nothing is known", func(t *testing.T) {
		b := sealedBench(t)
		b.pod.err = errors.New("down")
		b.until("open", row("open-standby"))
	})
	t.Run("the API server hangs, and nothing is known", func(t *testing.T) {
		b := sealedBench(t)
		b.pod.hangs = make(chan struct{})
		defer close(b.pod.hangs)
		begin := time.Now()
		b.until("open", row("open-standby"))
		if took := time.Since(begin); took > 2*holdWait+2*time.Second {
			t.Errorf("it took %s", took)
		}
	})
	t.Run("the API server fails after a hold was seen", func(t *testing.T) {
		b := sealedBench(t)
		b.pod.hold = held("incident 7")
		failed := time.Time{}
		b.until("held on", func(s *Sidecar, turn machine.Turn) bool {
			if row("sealed-held")(s, turn) && failed.IsZero() {
				failed = time.Now()
				b.pod.set(func(p *fakePod) { p.hold, p.err = nil, errors.New("down") })
			}
			if turn.Decision.Step == machine.Unseal {
				t.Fatal("the hold was forgotten when the API server went away")
			}
			return !failed.IsZero() && time.Since(failed) > 3*holdEvery
		})
	})
	t.Run("without Kubernetes", func(t *testing.T) {
		b := sealedBench(t)
		b.options.Self = nil
		b.until("open", row("open-standby"))
	})
}

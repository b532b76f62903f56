package fence

import (
	"math/rand/v2"
	"strings"
	"sync"
	"testing"
	"time"
)

// twoActives lets a cut-off former active Vault believe in itself for a minute,
// with its pod still reaching the API server, and tells what was written.
func twoActives(t *testing.T, w *world, change func(*Fence)) []string {
	w.elect("vault-0", "vault-1", "vault-2")
	for _, pair := range [][2]string{{"vault-0", "vault-1"}, {"vault-0", "vault-2"}} {
		w.cut[pair], w.cut[[2]string{pair[1], pair[0]}] = true, true
	}
	w.elect("vault-1", "vault-2") // and vault-0 does not know
	for _, pod := range []string{"vault-0", "vault-1"} {
		f := w.fence(pod)
		change(f)
		f.Role(true)
		w.run(f)
	}
	time.Sleep(time.Minute)
	return w.wrote()
}

func TestTwoActives(t *testing.T) {
	in(t, func(t *testing.T, w *world) {
		got := strings.Join(twoActives(t, w, func(*Fence) {}), ", ")
		if got != "vault-1: vault-0=false" || w.labels() != "vault-1" {
			t.Errorf("wrote %s, labelled %q; want one write, and vault-1", got, w.labels())
		}
	})
}

// Were own belief enough, the two would take the label from each other for ever.
func TestTwoActivesWithoutMajority(t *testing.T) {
	in(t, func(t *testing.T, w *world) {
		got := twoActives(t, w, func(f *Fence) { f.majority = 1 })
		if len(got) < 20 {
			t.Errorf("%d writes; the simulation shows no flapping, so it proves nothing about the majority: %v", len(got), got)
		}
	})
}

// A fence is stopped between evidence and write while leadership moves on.
func TestPausedFence(t *testing.T) {
	in(t, func(t *testing.T, w *world) {
		w.elect("vault-1", "vault-0", "vault-2")
		w.put("vault-0", "true") // stale
		var once sync.Once
		w.before = func(by, pod, _ string) {
			if by == "vault-1" && pod == "vault-0" {
				once.Do(func() {
					// Away and back to vault-0, which says so before it becomes active.
					w.set("vault-1", func(v *fakeVault) { v.active, v.names = false, "vault-0" })
					w.put("vault-1", "false")
					w.put("vault-0", "false")
					w.elect("vault-0", "vault-1", "vault-2")
				})
			}
		}
		f := w.fence("vault-1")
		f.Role(true)
		w.run(f)
		time.Sleep(longEnough)
		if got := w.labels(); got != "vault-0" || len(w.wrote()) != 0 {
			t.Errorf("labelled %q, wrote %v; want vault-0, untouched", got, w.wrote())
		}
		if m := w.metrics("vault-1"); !strings.Contains(m, `vaultproof_label_errors_total{kind="conflict"} 1`) {
			t.Errorf("the write did not fail on the version:\n%s", m)
		}
	})
}

// The same, but leadership moves as soon as the evidence is in: labels that are
// read after it would show the new active pod as one to be mended.
func TestLabelsAreReadBeforeEvidence(t *testing.T) {
	in(t, func(t *testing.T, w *world) {
		w.elect("vault-1", "vault-0", "vault-2")
		f := w.fence("vault-1")
		var once sync.Once
		f.o.Peers["vault-2"] = then{f.o.Peers["vault-2"], func() {
			once.Do(func() {
				w.set("vault-1", func(v *fakeVault) { v.active, v.names = false, "vault-0" })
				w.put("vault-1", "false")
				w.elect("vault-0", "vault-1", "vault-2")
			})
		}}
		f.Role(true)
		w.run(f)
		time.Sleep(longEnough)
		if got := w.labels(); got != "vault-0" || len(w.wrote()) != 0 {
			t.Errorf("labelled %q, wrote %v; want vault-0, untouched", got, w.wrote())
		}
	})
}

// Whatever happens, and whatever of it Vault cannot publish: a few seconds after
// the last event exactly the active pod has the label.
func TestAnyHistory(t *testing.T) { anyHistory(t, func(*world) {}) }

// The same where Vaults speak to a registrar.
func TestAnyHistoryRegistered(t *testing.T) { anyHistory(t, (*world).register) }

func anyHistory(t *testing.T, prepare func(*world)) {
	for seed := range uint64(100) {
		in(t, func(t *testing.T, w *world) {
			prepare(w)
			r := rand.New(rand.NewPCG(seed, 1))
			names := []string{"vault-0", "vault-1", "vault-2"}
			fences := map[string]*Fence{}
			for _, pod := range names {
				fences[pod] = w.fence(pod)
				w.run(fences[pod])
			}
			active := names[r.IntN(3)]
			for range 20 {
				active = event(w, r, names, active)
				for pod, f := range fences {
					f.Role(pod == active)
				}
				time.Sleep(time.Duration(r.IntN(3000)) * time.Millisecond)
			}
			w.heal(names, active)
			time.Sleep(3*time.Second + 2*every) // a call that hangs, and two rounds
			if got := w.labels(); got != active {
				t.Errorf("seed %d: labelled %q; want %s\n%s", seed, got, active, w.log.String())
			}
			before := len(w.wrote())
			time.Sleep(time.Minute)
			if after := len(w.wrote()); after != before {
				t.Errorf("seed %d: %d writes in a quiet minute", seed, after-before)
			}
		})
	}
}

// event is one thing that goes wrong, or is mended; it returns who is active.
func event(w *world, r *rand.Rand, names []string, active string) string {
	pod, peer := names[r.IntN(3)], names[r.IntN(3)]
	switch r.IntN(6) {
	case 0: // a tampered label
		w.put(pod, []string{"true", "false"}[r.IntN(2)])
	case 1: // a pod that is cut off
		w.mu.Lock()
		w.cut[[2]string{pod, "api"}] = r.IntN(2) == 0
		w.cut[[2]string{pod, peer}] = r.IntN(2) == 0
		w.mu.Unlock()
	case 2: // a pod that fails
		w.set(pod, func(v *fakeVault) { v.dead, v.hanged = r.IntN(2) == 0, r.IntN(4) == 0 })
	default: // an election, of which only some learn
		old := active
		active = pod
		var known []string
		for _, name := range names {
			if r.IntN(4) > 0 && name != pod {
				known = append(known, name)
			}
		}
		if r.IntN(3) > 0 && old != pod {
			w.says(old, "false") // it could say so
		}
		w.elect(pod, known...)
	}
	return active
}

// heal ends all that is wrong but labels.
func (w *world) heal(names []string, active string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	clear(w.cut)
	for _, name := range names {
		*w.vaults[name] = fakeVault{active: name == active, names: active}
	}
}

// Vault becomes active while its fence takes a stale true away. Its own write
// changes nothing, so the version does not tell.
func TestActivationMeetsRepair(t *testing.T) {
	in(t, func(t *testing.T, w *world) {
		w.elect("vault-0", "vault-1", "vault-2")
		w.put("vault-1", "true") // stale
		var once sync.Once
		w.before = func(_, pod, value string) {
			if pod == "vault-1" && value == "false" {
				once.Do(func() {
					w.put("vault-0", "false")
					w.elect("vault-1", "vault-0", "vault-2")
				})
			}
		}
		w.run(w.fence("vault-1"))
		time.Sleep(100 * time.Millisecond)
		if got := w.labels(); got != "vault-1" {
			t.Errorf("labelled %q after 100 ms; want vault-1, without the grace", got)
		}
	})
}

// The other way round: Vault steps down while its fence mends a missing true.
func TestStepDownMeetsRepair(t *testing.T) {
	in(t, func(t *testing.T, w *world) {
		w.elect("vault-1", "vault-0", "vault-2")
		w.put("vault-1", "false") // tampered with
		var once sync.Once
		w.before = func(_, pod, value string) {
			if pod == "vault-1" && value == "true" {
				once.Do(func() {
					w.set("vault-1", func(v *fakeVault) { v.active, v.names = false, "vault-0" })
					w.elect("vault-0", "vault-1", "vault-2")
				})
			}
		}
		f := w.fence("vault-1")
		f.Role(true)
		w.run(f)
		time.Sleep(grace + 100*time.Millisecond)
		if got := w.labels(); got != "vault-0" {
			t.Errorf("labelled %q; want vault-0 alone within 100 ms", got)
		}
	})
}

// A wrong fence in the instant of an election is mended by the one it hit.
func TestWrongFenceIsMended(t *testing.T) {
	in(t, func(t *testing.T, w *world) {
		// vault-1 is elected and still preparing; vault-2 has not heard of it.
		w.elect("vault-0", "vault-2")
		w.set("vault-1", func(v *fakeVault) { v.hanged = true })
		w.put("vault-1", "true")
		old := w.fence("vault-0")
		old.Role(true)
		w.run(old)
		time.Sleep(200 * time.Millisecond)
		if w.labels() != "vault-0" {
			t.Fatalf("labelled %q: the mistake to be mended did not happen", w.labels())
		}
		w.set("vault-1", func(v *fakeVault) { v.hanged, v.active, v.names = false, true, "vault-1" })
		for _, pod := range []string{"vault-0", "vault-2"} {
			w.set(pod, func(v *fakeVault) { v.active, v.names = false, "vault-1" })
		}
		next := w.fence("vault-1")
		next.Role(true)
		w.run(next)
		time.Sleep(grace + 100*time.Millisecond)
		if got := w.labels(); got != "vault-1" {
			t.Errorf("labelled %q; want vault-1", got)
		}
	})
}

// A process that was stopped in the middle of a round does not act on it.
func TestOldRoundIsDropped(t *testing.T) {
	in(t, func(t *testing.T, w *world) {
		w.elect("vault-1", "vault-0", "vault-2")
		w.put("vault-0", "true")
		f := w.fence("vault-1")
		f.hint.Store(true)
		f.o.Self = slow{f.o.Self, roundLimit + time.Second}
		if f.round(t.Context()); len(w.wrote()) != 0 {
			t.Errorf("wrote %v on labels that are older than %s", w.wrote(), roundLimit)
		}
	})
}

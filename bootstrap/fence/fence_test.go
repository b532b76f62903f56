package fence

import (
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/vaultproof/vaultproof/bootstrap/kube"
)

const longEnough = 10 * time.Second

// What one fence makes of the labels, by what the Vaults say.
func TestLabels(t *testing.T) {
	for name, tt := range map[string]struct {
		given func(w *world)
		fence string
		want  string // pods with true in the end
	}{
		"stale labels of others go": {func(w *world) {
			w.put("vault-0", "true")
			w.put("vault-2", "true")
			w.elect("vault-1", "vault-0", "vault-2")
		}, "vault-1", "vault-1"},
		"of a dead pod": {func(w *world) {
			w.elect("vault-0")
			w.set("vault-0", func(v *fakeVault) { v.dead = true })
			w.elect("vault-1", "vault-2")
		}, "vault-1", "vault-1"},
		"of a hanging pod": {func(w *world) {
			w.elect("vault-0")
			w.set("vault-0", func(v *fakeVault) { v.hanged = true })
			w.elect("vault-1", "vault-2")
		}, "vault-1", "vault-1"},
		"a missing own label comes back": {func(w *world) {
			w.elect("vault-1", "vault-0", "vault-2")
			w.put("vault-1", "false")
		}, "vault-1", "vault-1"},
		"a standby leaves others alone": {func(w *world) {
			w.put("vault-0", "true")
			w.elect("vault-1", "vault-0", "vault-2")
		}, "vault-2", "vault-0 vault-1"},
		"a standby takes its own label back": {func(w *world) {
			w.elect("vault-1", "vault-0", "vault-2")
			w.put("vault-2", "true")
		}, "vault-2", "vault-1"},
		"so does a sealed one": {func(w *world) {
			w.put("vault-2", "true")
			w.set("vault-2", func(v *fakeVault) { v.sealed = true })
		}, "vault-2", ""},
		"and one that is not there": {func(w *world) {
			w.put("vault-2", "true")
			w.set("vault-2", func(v *fakeVault) { v.dead = true })
		}, "vault-2", ""},
		"one that hangs proves nothing": {func(w *world) {
			w.put("vault-2", "true")
			w.set("vault-2", func(v *fakeVault) { v.hanged = true })
		}, "vault-2", "vault-2"},
		"no majority, no write": {func(w *world) {
			w.put("vault-0", "true")
			w.elect("vault-1")
		}, "vault-1", "vault-0 vault-1"},
		"peers that name another are no majority": {func(w *world) {
			w.elect("vault-0", "vault-2")
			w.elect("vault-1")
			w.set("vault-0", func(v *fakeVault) { v.active = false })
		}, "vault-1", "vault-0 vault-1"},
		"two that answer that they are active": {func(w *world) {
			w.elect("vault-0")
			w.elect("vault-1", "vault-2")
		}, "vault-1", "vault-0 vault-1"},
		"of which the other answers last": {func(w *world) {
			w.elect("vault-0")
			w.set("vault-0", func(v *fakeVault) { v.late = settle / 2 })
			w.elect("vault-1", "vault-2")
		}, "vault-1", "vault-0 vault-1"},
		"all with one address": {func(w *world) {
			w.elect("vault-0")
			w.elect("vault-1", "vault-2")
			w.set("vault-0", func(v *fakeVault) { v.names = "vault-1" })
		}, "vault-0", "vault-0 vault-1"},
	} {
		t.Run(name, func(t *testing.T) {
			in(t, func(t *testing.T, w *world) {
				tt.given(w)
				f := w.fence(tt.fence)
				f.Role(w.vaults[tt.fence].active)
				w.run(f)
				time.Sleep(longEnough)
				if got := w.labels(); got != tt.want {
					t.Errorf("labelled active: %q; want %q\n%s", got, tt.want, w.log.String())
				}
			})
		})
	}
}

func TestFirstWriteIsFast(t *testing.T) {
	in(t, func(t *testing.T, w *world) {
		w.elect("vault-0", "vault-1", "vault-2")
		f := w.fence("vault-1")
		w.run(f)
		time.Sleep(longEnough)
		// A node fails: its Vault answers nobody, and its label stays.
		w.set("vault-0", func(v *fakeVault) { v.hanged = true })
		w.elect("vault-1", "vault-2")
		began := time.Now()
		f.Role(true)
		time.Sleep(time.Second)
		if w.labels() != "vault-1" || w.wroteAt[0].Sub(began) > settle+20*time.Millisecond {
			t.Errorf("labelled %q, after %s; want vault-1 alone, at once", w.labels(), w.wroteAt[0].Sub(began))
		}
	})
}

// The own label is left to Vault's registration at first.
func TestGrace(t *testing.T) {
	in(t, func(t *testing.T, w *world) {
		w.elect("vault-1", "vault-0", "vault-2")
		w.put("vault-1", "false")
		f := w.fence("vault-1")
		f.Role(true)
		w.run(f)
		time.Sleep(grace - 10*time.Millisecond)
		if got := w.labels(); got != "" {
			t.Errorf("labelled %q within the grace", got)
		}
		time.Sleep(100 * time.Millisecond)
		if got := w.labels(); got != "vault-1" {
			t.Errorf("labelled %q after the grace; want vault-1", got)
		}
	})
}

func TestRepairIsTold(t *testing.T) {
	in(t, func(t *testing.T, w *world) {
		w.put("vault-0", "true")
		w.elect("vault-1", "vault-0", "vault-2")
		f := w.fence("vault-1")
		f.Role(true)
		w.run(f)
		time.Sleep(longEnough)
		log := w.log.String()
		for _, want := range []string{"pod=vault-0", "from=true", "to=false", "by=vault-1", `evidence="sys/leader of vault-0 and vault-1 and vault-2 names https://vault-1`} {
			if !strings.Contains(log, want) {
				t.Errorf("the log does not say %s:\n%s", want, log)
			}
		}
		if strings.Count(log, "\n") != 1 {
			t.Errorf("one repair, and more than one line:\n%s", log)
		}
		if m := w.metrics("vault-1"); !strings.Contains(m, `vaultproof_label_repairs_total{pod="vault-0"} 1`) {
			t.Errorf("metrics:\n%s", m)
		}
	})
}

func TestWithoutAPIServer(t *testing.T) {
	in(t, func(t *testing.T, w *world) {
		w.put("vault-0", "true")
		w.elect("vault-1", "vault-0", "vault-2")
		w.cut[[2]string{"vault-1", "api"}] = true
		f := w.fence("vault-1")
		f.Role(true)
		w.run(f)
		time.Sleep(2 * time.Minute)
		w.mu.Lock()
		clear(w.cut)
		w.mu.Unlock()
		time.Sleep(every + 3*time.Second)
		if got := w.labels(); got != "vault-1" {
			t.Errorf("labelled %q after the API server came back", got)
		}
		log := w.log.String()
		if strings.Count(log, "cannot be kept right") != 1 || strings.Count(log, "again") == 0 || !strings.Contains(log, "level=WARN") {
			t.Errorf("want the trouble said once, and its end:\n%s", log)
		}
		if m := w.metrics("vault-1"); !strings.Contains(m, `vaultproof_label_errors_total{kind="unavailable"}`) {
			t.Errorf("metrics:\n%s", m)
		}
	})
}

// A right that is missing needs an admin: an error, counted, with its remedy.
func TestForbidden(t *testing.T) {
	for _, refusal := range []error{kube.ErrForbidden, kube.ErrInvalid} {
		in(t, func(t *testing.T, w *world) {
			w.put("vault-0", "true")
			w.elect("vault-1", "vault-0", "vault-2")
			w.refuse = refusal
			f := w.fence("vault-1")
			f.Role(true)
			w.run(f)
			time.Sleep(time.Minute)
			log := w.log.String()
			if strings.Count(log, "level=ERROR") != 1 || !strings.Contains(log, "remedy=") {
				t.Errorf("want one error with a remedy:\n%s", log)
			}
			m, kind := w.metrics("vault-1"), kube.Kind(refusal)
			if !strings.Contains(m, `vaultproof_label_errors_total{kind="`+kind+`"}`) {
				t.Errorf("metrics:\n%s", m)
			}
		})
	}
}

func TestAbsentPodIsNoTrouble(t *testing.T) {
	in(t, func(t *testing.T, w *world) {
		w.elect("vault-1", "vault-2")
		w.pods["vault-0"] = kube.Pod{Name: "vault-0", ResourceVersion: "gone"}
		w.set("vault-0", func(v *fakeVault) { v.dead = true })
		f := w.fence("vault-1")
		f.Role(true)
		w.run(f)
		time.Sleep(longEnough)
		if log := w.log.String(); log != "" {
			t.Errorf("a pod that is being replaced is worth no line:\n%s", log)
		}
	})
}

// Somebody who sets the label again and again is not raced.
func TestNoRaceWithTamperer(t *testing.T) {
	in(t, func(t *testing.T, w *world) {
		w.elect("vault-1", "vault-0", "vault-2")
		w.put("vault-2", "true")
		f := w.fence("vault-2")
		w.run(f)
		for range 10_000 { // ten seconds
			time.Sleep(time.Millisecond)
			w.put("vault-2", "true")
		}
		if n := len(w.wrote()); n < 4 || n > 15 {
			t.Errorf("%d writes in 10 s; want about two every two seconds", n)
		}
	})
}

func TestOptions(t *testing.T) {
	in(t, func(t *testing.T, w *world) {
		o := w.fence("vault-0").o
		o.Pod = "other"
		if _, err := New(o); err == nil || !strings.Contains(err.Error(), "-peers") {
			t.Errorf("a pod that is not in the list: error %v", err)
		}
		o = w.fence("vault-0").o
		o.Pods = slices.DeleteFunc(o.Pods, func(s string) bool { return s == "vault-2" })
		if _, err := New(o); err == nil || !strings.Contains(err.Error(), "vault-2") {
			t.Errorf("a peer that is not in the list: error %v; a wrong count makes a wrong majority", err)
		}
	})
}

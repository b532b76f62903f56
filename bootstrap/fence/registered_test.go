package fence

import (
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/vaultproof/vaultproof/bootstrap/registrar"
	"github.com/vaultproof/vaultproof/bootstrap/status"
)

// becoming is a world in which vault-1 has been elected, announced it, and holds
// its lock; the others know.
func becoming(w *world) *Fence {
	w.register()
	for _, pod := range []string{"vault-0", "vault-1", "vault-2"} {
		w.set(pod, func(v *fakeVault) { v.names = "vault-1" })
	}
	f := w.fence("vault-1")
	w.run(f)
	time.Sleep(longEnough)
	w.set("vault-1", func(v *fakeVault) { v.hanged = true })
	w.says("vault-1", "true")
	return f
}

// The label comes when Vault serves, neither before nor later.
func TestTrueWhenVaultServes(t *testing.T) {
	for _, takes := range []time.Duration{0, 20 * time.Millisecond, 700 * time.Millisecond, 1100 * time.Millisecond, 5 * time.Second, 40 * time.Second} {
		in(t, func(t *testing.T, w *world) {
			becoming(w)
			time.Sleep(takes)
			if got := w.labels(); got != "" {
				t.Errorf("takes %s: labelled %q before it serves", takes, got)
			}
			w.set("vault-1", func(v *fakeVault) { v.hanged, v.active = false, true })
			within := 100 * time.Millisecond
			if takes > patience {
				within = every + 100*time.Millisecond
			}
			time.Sleep(within)
			if got := w.labels(); got != "vault-1" {
				t.Errorf("takes %s: labelled %q %s after it serves; want vault-1", takes, got, within)
			}
		})
	}
}

// With the former active pod gone, its silence must not cost the 100 ms.
func TestTrueWithoutOnePeer(t *testing.T) {
	in(t, func(t *testing.T, w *world) {
		w.put("vault-0", "true")
		becoming(w)
		w.set("vault-0", func(v *fakeVault) { v.hanged = true })
		time.Sleep(200 * time.Millisecond)
		w.set("vault-1", func(v *fakeVault) { v.hanged, v.active = false, true })
		time.Sleep(100 * time.Millisecond)
		if got := w.labels(); got != "vault-1" {
			t.Errorf("labelled %q; want vault-1 alone within 100 ms", got)
		}
	})
}

// Own belief is not enough where there are peers.
func TestTrueTakesMajority(t *testing.T) {
	in(t, func(t *testing.T, w *world) {
		becoming(w)
		for _, pod := range []string{"vault-0", "vault-2"} {
			w.set(pod, func(v *fakeVault) { v.names = "vault-0" })
		}
		w.set("vault-1", func(v *fakeVault) { v.hanged, v.active = false, true })
		time.Sleep(longEnough)
		if got := w.labels(); got != "" {
			t.Errorf("labelled %q without a majority", got)
		}
	})
}

// A Vault that steps down is believed at once, though it cannot be asked.
func TestFalseAtOnce(t *testing.T) {
	in(t, func(t *testing.T, w *world) {
		w.register()
		w.elect("vault-1", "vault-0", "vault-2")
		w.run(w.fence("vault-1"))
		time.Sleep(longEnough)
		if got := w.labels(); got != "vault-1" {
			t.Fatalf("labelled %q; want vault-1", got)
		}
		w.set("vault-1", func(v *fakeVault) { v.hanged = true })
		w.says("vault-1", "false")
		time.Sleep(20 * time.Millisecond)
		if got := w.labels(); got != "" {
			t.Errorf("labelled %q 20 ms after Vault said no", got)
		}
	})
}

// Nothing that Vault says while the API server is away is lost, and nothing of it
// that is out of date is written.
func TestAnnouncedWithoutAPIServer(t *testing.T) {
	for _, last := range []string{"true", "false"} {
		in(t, func(t *testing.T, w *world) {
			becoming(w)
			w.mu.Lock()
			w.cut[[2]string{"vault-1", "api"}] = true
			w.mu.Unlock()
			for i := range 5 { // true at first and in the end
				active := i%2 == 0
				w.set("vault-1", func(v *fakeVault) { v.hanged, v.active, v.version = false, active, "1.21.2" })
				w.says("vault-1", word(active))
				time.Sleep(11 * time.Second)
			}
			if last == "false" {
				w.set("vault-1", func(v *fakeVault) { v.hanged = true })
				w.says("vault-1", "false")
			}
			time.Sleep(11 * time.Second)
			s := w.status("vault-1")
			if s.Labels.Pending[registrar.Version] != "1.21.2" || time.Since(s.Labels.PendingSince) < 50*time.Second || s.Labels.LastError == "" {
				t.Errorf("pending %v since %s, error %q; want the labels, for about a minute", s.Labels.Pending, time.Since(s.Labels.PendingSince), s.Labels.LastError)
			}
			if m := w.metrics("vault-1"); strings.Contains(m, "vaultproof_labels_pending 0") || strings.Contains(m, "vaultproof_labels_pending_seconds 0\n") {
				t.Errorf("metrics:\n%s", m)
			}
			w.mu.Lock()
			clear(w.cut)
			w.mu.Unlock()
			// A call that hangs until its limit, the pause after it, and what must be
			// asked again; of a Vault that hangs in vain.
			time.Sleep(5 * time.Second)
			if last == "false" {
				time.Sleep(2 * askTimeout)
			}
			want := map[string]string{"true": "vault-1", "false": ""}[last]
			if got := w.labels(); got != want {
				t.Errorf("labelled %q after the API server is back; want %q", got, want)
			}
			if p := w.of("vault-1"); p[registrar.Sealed] != "false" || p[registrar.Version] != "1.21.2" {
				t.Errorf("labels %v", p)
			}
			if last == "false" && slices.Contains(w.wrote(), "vault-1: vault-1=true") {
				t.Errorf("wrote %v; the true was long out of date", w.wrote())
			}
			if s := w.status("vault-1"); len(s.Labels.Pending) != 0 || !s.Labels.PendingSince.IsZero() {
				t.Errorf("still pending: %v", s.Labels.Pending)
			}
		})
	}
}

// The labels that are for people do not hold up the one that routes.
func TestOthersAreRefused(t *testing.T) {
	in(t, func(t *testing.T, w *world) {
		w.refuseOthers = true
		becoming(w)
		w.set("vault-1", func(v *fakeVault) { v.hanged, v.active = false, true })
		time.Sleep(100 * time.Millisecond)
		if got := w.labels(); got != "vault-1" {
			t.Errorf("labelled %q; want vault-1", got)
		}
		w.says("vault-1", "false")
		time.Sleep(20 * time.Millisecond)
		if got := w.labels(); got != "" {
			t.Errorf("labelled %q; want none", got)
		}
		if m := w.metrics("vault-1"); !strings.Contains(m, `vaultproof_label_errors_total{kind="invalid"}`) {
			t.Errorf("metrics:\n%s", m)
		}
	})
}

// A sidecar that was restarted has heard nothing, and Vault does not repeat
// itself: what it is asked must do.
func TestRestartedSidecar(t *testing.T) {
	for name, tt := range map[string]struct {
		vault  func(v *fakeVault)
		active string
		sealed string
	}{
		"active":  {func(v *fakeVault) { v.active, v.names = true, "vault-1" }, "true", "false"},
		"standby": {func(v *fakeVault) { v.names = "vault-0" }, "false", "false"},
		"sealed":  {func(v *fakeVault) { v.sealed = true }, "false", "true"},
	} {
		in(t, func(t *testing.T, w *world) {
			w.register()
			for _, pod := range []string{"vault-0", "vault-2"} {
				w.set(pod, func(v *fakeVault) { v.names = "vault-1" })
			}
			w.set("vault-1", tt.vault)
			w.label("vault-1", Label, map[string]string{"true": "false", "false": "true"}[tt.active])
			w.label("vault-1", registrar.Sealed, "unknown")
			w.run(w.fence("vault-1"))
			time.Sleep(time.Second)
			l := w.of("vault-1")
			if l[Label] != tt.active || l[registrar.Sealed] != tt.sealed || l[registrar.Initialised] != "true" || l[registrar.PerfStandby] != "false" {
				t.Errorf("%s: labels %v", name, l)
			}
		})
	}
}

// A Vault that announces itself and then fails to become active is a standby,
// and not looked at more often than one.
func TestActivationFails(t *testing.T) {
	in(t, func(t *testing.T, w *world) {
		becoming(w)
		time.Sleep(time.Second)
		w.set("vault-1", func(v *fakeVault) { v.hanged = false })
		time.Sleep(longEnough)
		before := w.reads.Load()
		time.Sleep(time.Minute)
		if n := w.reads.Load() - before; w.labels() != "" || n > 100 {
			t.Errorf("labelled %q, %d reads of pods in a minute; want none, and three every two seconds", w.labels(), n)
		}
	})
}

// One that hangs for ever costs little more.
func TestActivationHangs(t *testing.T) {
	in(t, func(t *testing.T, w *world) {
		becoming(w)
		before := w.reads.Load()
		time.Sleep(patience)
		if n := w.reads.Load() - before; n > 110 {
			t.Errorf("%d reads of pods in %s; want three a second", n, patience)
		}
	})
}

// Without the fence the own pod is the only one, and own belief the majority.
func TestRegisteredAlone(t *testing.T) {
	in(t, func(t *testing.T, w *world) {
		w.register()
		w.put("vault-0", "true") // nobody's business
		w.elect("vault-1")
		o := w.fence("vault-1").o
		o.Pods, o.Peers = []string{"vault-1"}, nil
		f, err := New(o)
		if err != nil {
			t.Fatal(err)
		}
		w.run(f)
		time.Sleep(time.Second)
		if got := w.labels(); got != "vault-0 vault-1" {
			t.Errorf("labelled %q; want vault-1, and vault-0 untouched", got)
		}
	})
}

// What Vault announces is published, not repaired; what somebody else does to it
// is.
func TestPublishedOrRepaired(t *testing.T) {
	in(t, func(t *testing.T, w *world) {
		becoming(w)
		w.set("vault-1", func(v *fakeVault) { v.hanged, v.active = false, true })
		time.Sleep(longEnough)
		if log := w.log.String(); strings.Contains(log, "repaired") || !strings.Contains(log, "published") {
			t.Errorf("log:\n%s", log)
		}
		w.put("vault-1", "false")
		time.Sleep(longEnough)
		if log := w.log.String(); strings.Count(log, "label repaired") != 1 || w.labels() != "vault-1" {
			t.Errorf("labelled %q, log:\n%s", w.labels(), log)
		}
	})
}

func word(b bool) string { return map[bool]string{true: "true", false: "false"}[b] }

func (w *world) status(pod string) (s status.Status) {
	w.t.Helper()
	rec := httptest.NewRecorder()
	w.boards[pod].Handler().ServeHTTP(rec, httptest.NewRequest(http.MethodGet, "/status", nil))
	if err := json.Unmarshal(rec.Body.Bytes(), &s); err != nil {
		w.t.Fatal(err)
	}
	return s
}

// of gives all labels of a pod.
func (w *world) of(pod string) map[string]string {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.pods[pod].Labels // replaced with each change
}

package handover

import (
	"context"
	"encoding/json"
	"encoding/pem"
	"errors"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/vaultproof/vaultproof/bootstrap/vault"
)

const own, other = "https://vault-0:8200", "https://vault-1:8200"

// standIn is a Vault's sys/leader and sys/step-down.
type standIn struct {
	mu     sync.Mutex
	active bool
	sealed bool
	denies bool
	steps  int // step-downs asked for
	// onStep is what a step-down does, n counted from 1.
	onStep func(v *standIn, n int)
	leader string
}

func (v *standIn) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	v.mu.Lock()
	defer v.mu.Unlock()
	switch {
	case v.sealed:
		w.WriteHeader(http.StatusServiceUnavailable)
		_ = json.NewEncoder(w).Encode(map[string]any{"errors": []string{"Vault is sealed"}})
	case r.URL.Path == "/v1/sys/leader":
		_ = json.NewEncoder(w).Encode(map[string]any{"ha_enabled": true, "is_self": v.active, "leader_address": v.leader})
	case r.URL.Path == "/v1/sys/step-down" && r.Method == http.MethodPut:
		v.steps++
		if v.denies || r.Header.Get("X-Vault-Token") != "the-token" {
			w.WriteHeader(http.StatusForbidden)
			return
		}
		w.WriteHeader(http.StatusNoContent)
		v.onStep(v, v.steps)
	default:
		w.WriteHeader(http.StatusNotFound)
	}
}

func (v *standIn) set(active bool, leader string) { v.active, v.leader = active, leader }

// later changes the stand-in after d, as a step-down does that was answered.
func (v *standIn) later(d time.Duration, change func()) {
	time.AfterFunc(d, func() {
		v.mu.Lock()
		defer v.mu.Unlock()
		change()
	})
}

func moves(v *standIn, _ int) {
	v.later(80*time.Millisecond, func() { v.set(false, own) }) // the old address lingers
	v.later(200*time.Millisecond, func() { v.set(false, other) })
}

// attempt runs a handover from v, whose token read is counted.
func attempt(t *testing.T, v *standIn, stopping bool, token func(context.Context) ([]byte, error)) (said string, reads int, err error) {
	t.Helper()
	srv := httptest.NewTLSServer(v)
	t.Cleanup(srv.Close)
	ca := filepath.Join(t.TempDir(), "ca.crt")
	if err := os.WriteFile(ca, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: srv.Certificate().Raw}), 0o600); err != nil {
		t.Fatal(err)
	}
	c, err := vault.New(srv.URL, ca, "example.com")
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), Budget)
	defer cancel()
	said, err = (&Handover{Vault: c, Secret: "vault-handover-token",
		Token:    func(ctx context.Context) ([]byte, error) { reads++; return token(ctx) },
		Stopping: func(context.Context) bool { return stopping },
	}).Run(ctx)
	return said, reads, err
}

func good(context.Context) ([]byte, error) { return []byte("the-token"), nil }

func TestNothingToHandOver(t *testing.T) {
	for name, tt := range map[string]struct {
		vault    *standIn
		stopping bool
		want     string
	}{
		"standby":          {&standIn{leader: other}, true, "not active"},
		"sealed":           {&standIn{sealed: true}, true, "does not say that it is active"},
		"only the sidecar": {&standIn{active: true, leader: own}, false, "leadership stays"},
	} {
		t.Run(name, func(t *testing.T) {
			said, reads, err := attempt(t, tt.vault, tt.stopping, good)
			if err != nil || !strings.Contains(said, tt.want) {
				t.Errorf("said %q, error %v", said, err)
			}
			if reads != 0 || tt.vault.steps != 0 {
				t.Errorf("%d reads of custody, %d step-downs; want none", reads, tt.vault.steps)
			}
		})
	}
}

func TestHandsOver(t *testing.T) {
	for name, tt := range map[string]struct {
		onStep func(*standIn, int)
		steps  int
	}{
		"at once": {moves, 1},
		"elected again, then another": {func(v *standIn, n int) {
			if n == 1 {
				v.later(60*time.Millisecond, func() { v.set(false, "") })
				v.later(250*time.Millisecond, func() { v.set(true, own) })
				return
			}
			moves(v, n)
		}, 2},
		"the first step-down has no effect": {func(v *standIn, n int) {
			if n == 2 {
				moves(v, n)
			}
		}, 2},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			v := &standIn{active: true, leader: own, onStep: tt.onStep}
			said, _, err := attempt(t, v, true, good)
			if err != nil || !strings.Contains(said, other) {
				t.Errorf("said %q, error %v", said, err)
			}
			if v.steps != tt.steps {
				t.Errorf("%d step-downs, want %d", v.steps, tt.steps)
			}
		})
	}
}

func TestFails(t *testing.T) {
	for name, tt := range map[string]struct {
		vault  *standIn
		token  func(context.Context) ([]byte, error)
		want   []string
		within time.Duration
	}{
		"denied": {&standIn{active: true, leader: own, denies: true}, good, []string{"vault-handover-token", "policy handover"}, time.Second},
		"custody fails": {&standIn{active: true, leader: own}, func(context.Context) ([]byte, error) { return nil, errors.New("no permission") },
			[]string{"no permission"}, time.Second},
		"custody stalls": {&standIn{active: true, leader: own}, func(ctx context.Context) ([]byte, error) { <-ctx.Done(); return nil, ctx.Err() },
			[]string{"could not be read"}, tokenTimeout + time.Second},
		"stays active": {&standIn{active: true, leader: own, onStep: func(*standIn, int) {}}, good, []string{"no other Vault"}, moveTimeout + time.Second},
		"no other": {&standIn{active: true, leader: own, onStep: func(v *standIn, _ int) { v.set(false, "") }}, good,
			[]string{"names no other"}, moveTimeout + time.Second},
		"sealed on the way": {&standIn{active: true, leader: own, onStep: func(v *standIn, _ int) { v.sealed = true }}, good,
			[]string{"Vault is sealed"}, moveTimeout + time.Second},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			begin := time.Now()
			_, _, err := attempt(t, tt.vault, true, tt.token)
			for _, want := range tt.want {
				if err == nil || !strings.Contains(err.Error(), want) {
					t.Errorf("error %v; want one that says %q", err, want)
				}
			}
			if err != nil && strings.Contains(err.Error(), "the-token") {
				t.Error("the error holds the token")
			}
			if took := time.Since(begin); took > tt.within {
				t.Errorf("it took %s, want at most %s", took, tt.within)
			}
			if tt.vault.steps > attempts {
				t.Errorf("%d step-downs", tt.vault.steps)
			}
		})
	}
}

// hung never answers.
type hung struct{}

func (hung) Leader(ctx context.Context) (vault.Leader, error) {
	<-ctx.Done()
	return vault.Leader{}, ctx.Err()
}
func (hung) StepDown(ctx context.Context, _ []byte) error { <-ctx.Done(); return ctx.Err() }

func TestVaultHangs(t *testing.T) {
	begin := time.Now()
	said, err := (&Handover{Vault: hung{}, Token: good}).Run(t.Context())
	if err != nil || said == "" || time.Since(begin) > leaderTimeout+time.Second {
		t.Errorf("said %q, error %v after %s", said, err, time.Since(begin))
	}
}

func TestFiles(t *testing.T) {
	f := Files{Done: filepath.Join(t.TempDir(), "done")}
	exists := func(path string) bool { _, err := os.Stat(path); return err == nil }
	if err := errors.Join(f.Clear(), f.Begin(), f.End()); err != nil || !exists(f.begun()) || !exists(f.Done) {
		t.Fatalf("begun %t, done %t, error %v", exists(f.begun()), exists(f.Done), err)
	}
	if err := f.Clear(); err != nil || exists(f.begun()) || exists(f.Done) {
		t.Errorf("stale files were left, error %v", err)
	}
	late, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
	defer cancel()
	if f.Stopping(late) {
		t.Error("Vault is said to be stopping, and is not")
	}
	time.AfterFunc(50*time.Millisecond, func() { _ = os.WriteFile(f.stopping(), nil, 0o600) })
	if !f.Stopping(t.Context()) {
		t.Error("the stop of Vault was not noticed")
	}
}

// After the handover Vault stays up for as long as traffic may still come, and
// no longer than the hook may take; where nothing moved there is no wait.
func TestStaysUntilClientsHaveFollowed(t *testing.T) {
	run := func(ctx context.Context, leads bool) time.Duration {
		begin := time.Now()
		h := &Handover{Vault: &yielding{leads: leads}, Token: good, Stopping: func(context.Context) bool { return true }, Settle: 300 * time.Millisecond}
		if _, err := h.Run(ctx); err != nil {
			t.Fatal(err)
		}
		return time.Since(begin)
	}
	if took := run(t.Context(), true); took < 300*time.Millisecond {
		t.Errorf("left %s after the start, before clients could follow", took)
	}
	if took := run(t.Context(), false); took >= 300*time.Millisecond {
		t.Errorf("a standby waited %s for nothing", took)
	}
	ended, cancel := context.WithCancel(t.Context())
	h := &Handover{Settle: time.Hour}
	cancel()
	h.settle(ended) // returns at once, or the test hangs
}

// yielding is a Vault that gives leadership up when told to.
type yielding struct{ leads bool }

func (y *yielding) Leader(context.Context) (vault.Leader, error) {
	if y.leads {
		return vault.Leader{Self: true, Address: own}, nil
	}
	return vault.Leader{Address: other}, nil
}

func (y *yielding) StepDown(context.Context, []byte) error { y.leads = false; return nil }

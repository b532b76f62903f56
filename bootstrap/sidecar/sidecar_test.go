package sidecar

import (
	"context"
	"encoding/json"
	"encoding/pem"
	"errors"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/vaultproof/vaultproof/bootstrap/keys"
	"github.com/vaultproof/vaultproof/bootstrap/machine"
	"github.com/vaultproof/vaultproof/bootstrap/provision"
	"github.com/vaultproof/vaultproof/bootstrap/storage"
	"github.com/vaultproof/vaultproof/bootstrap/vault"
	"github.com/vaultproof/vaultproof/fixtures/secretmanager"
	"github.com/vaultproof/vaultproof/fixtures/secretmanager/secretmanagertest"
)

// fakeVault answers what the sidecar asks, and counts sys/init.
type fakeVault struct {
	mu          sync.Mutex
	initialised bool
	sealed      bool
	active      bool
	inits       int
	progress    int
	onCall      func(path string) // before it is answered
}

// seals is what an admin does.
func (v *fakeVault) seals() {
	v.mu.Lock()
	defer v.mu.Unlock()
	v.sealed = true
}

func (v *fakeVault) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	v.mu.Lock()
	defer v.mu.Unlock()
	if v.onCall != nil {
		v.onCall(r.URL.Path)
	}
	var answer any
	switch r.URL.Path {
	case "/v1/sys/seal-status":
		answer = v.seal()
	case "/v1/sys/leader":
		answer = map[string]any{"ha_enabled": true, "is_self": v.active}
	case "/v1/sys/init":
		v.inits++
		v.initialised, v.sealed = true, true
		answer = map[string]any{"keys_base64": []string{"YQ==", "Yg==", "Yw==", "ZA==", "ZQ=="}, "root_token": "hvs.root"}
	case "/v1/sys/unseal":
		if v.progress++; v.progress == 3 {
			v.progress, v.sealed = 0, false
		}
		answer = v.seal()
	default:
		w.WriteHeader(http.StatusForbidden)
		answer = map[string]any{"errors": []string{"permission denied"}}
	}
	_ = json.NewEncoder(w).Encode(answer)
}

func (v *fakeVault) seal() any {
	return map[string]any{"initialized": v.initialised, "sealed": v.sealed, "t": 3, "n": 5, "progress": v.progress, "nonce": "n"}
}

func (v *fakeVault) initCalls() int {
	v.mu.Lock()
	defer v.mu.Unlock()
	return v.inits
}

// bench is a sidecar with a fake Vault and a real custody.
type bench struct {
	t       *testing.T
	vault   *fakeVault
	custody *secretmanagertest.Harness
	ring    *keys.Ring
	pod     *fakePod // for options.Self
	folder  string   // of the markers
	options Options
}

func newBench(t *testing.T, pod string, ordinal int) *bench {
	t.Helper()
	h := secretmanagertest.Start(t)
	h.Grant("vault", "vault", secretmanager.RoleAdmin, "vault-")
	b := &bench{t: t, vault: &fakeVault{sealed: true}, custody: h, pod: &fakePod{}}
	store := h.Client(h.Config("vault", "vault"))
	b.ring = &keys.Ring{Store: store, Prefix: "vault", Shares: 5}
	c := b.client(b.vault)
	log := slog.New(slog.DiscardHandler)
	b.options = Options{Pod: pod, Ordinal: ordinal, Shares: 5, Threshold: 3, Vault: c, Ring: b.ring, Log: log,
		Provisioner: &provision.Provisioner{Vault: c, Ring: b.ring, Custody: store, Period: time.Hour, KeepRoot: true, Log: log}}
	return b
}

func (b *bench) client(v *fakeVault) *vault.Client {
	srv := httptest.NewTLSServer(v)
	b.t.Cleanup(srv.Close)
	ca := filepath.Join(b.t.TempDir(), "ca.crt")
	if err := os.WriteFile(ca, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: srv.Certificate().Raw}), 0o600); err != nil {
		b.t.Fatal(err)
	}
	c, err := vault.New(srv.URL, ca, "example.com")
	if err != nil {
		b.t.Fatal(err)
	}
	return c
}

// until runs the machine until a turn fits, and fails the test if none does.
func (b *bench) until(what string, fits func(*Sidecar, machine.Turn) bool) {
	b.t.Helper()
	ctx, cancel := context.WithTimeout(b.t.Context(), 20*time.Second)
	defer cancel()
	s := New(b.options)
	defer s.Close()
	var last machine.Turn
	reached := false
	machine.Run(ctx, s, 0, func(t machine.Turn) {
		last = t
		if fits(s, t) {
			reached = true
			cancel()
		}
	}, func(machine.Turn) {})
	if !reached {
		b.t.Fatalf("never %s; last: state %s, %s", what, last.Decision.State, last.Decision.Text)
	}
}

func row(name string) func(*Sidecar, machine.Turn) bool {
	return func(_ *Sidecar, t machine.Turn) bool { return t.Decision.Name == name }
}

// thrice waits until a row came up three times: it stays.
func thrice(name string) func(*Sidecar, machine.Turn) bool {
	n := 0
	return func(_ *Sidecar, t machine.Turn) bool {
		if t.Decision.Name == name {
			n++
		}
		return n == 3
	}
}

func TestNeverInitialises(t *testing.T) {
	tests := map[string]struct {
		pod     string
		ordinal int
		prepare func(*bench)
		row     string
	}{
		"not ordinal 0": {"vault-1", 1, func(*bench) {}, "empty-not-first"},
		"foreign claim": {"vault-0", 0, func(b *bench) { take(b, "other-0") }, "empty-foreign-claim"},
		"keys without a claim": {"vault-0", 0, func(b *bench) {
			if err := b.ring.Put(b.t.Context(), b.ring.Share(0), []byte("x")); err != nil {
				b.t.Fatal(err)
			}
		}, "empty-keys-exist"},
		"a peer has data": {"vault-0", 0, func(b *bench) {
			b.options.Peers = map[string]*vault.Client{"vault-2": b.client(&fakeVault{initialised: true, sealed: true})}
		}, "empty-peer-has-data"},
		"custody denies reading": {"vault-0", 0, func(b *bench) {
			b.custody.Fault(secretmanager.Fault{Mode: secretmanager.FaultDeny})
		}, "empty-uninspected"},
		"custody denies writing": {"vault-0", 0, func(b *bench) {
			b.custody.Fault(secretmanager.Fault{Mode: secretmanager.FaultDeny, Method: "AddSecretVersion"})
		}, "empty-unproven"},
		"custody tears writes": {"vault-0", 0, func(b *bench) {
			b.custody.Fault(secretmanager.Fault{Mode: secretmanager.FaultTorn, Method: "AddSecretVersion"})
		}, "empty-unproven"},
		"has data, and custody knows no key": {"vault-0", 0, func(b *bench) { b.vault.initialised = true }, "sealed-too-few-shares"},
		"has data, with an unfinished claim": {"vault-0", 0, func(b *bench) { b.vault.initialised = true; take(b, "vault-0") }, "sealed-too-few-shares"},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			b := newBench(t, tt.pod, tt.ordinal)
			tt.prepare(b)
			b.until("in row "+tt.row, thrice(tt.row))
			if n := b.vault.initCalls(); n != 0 {
				t.Errorf("sys/init was called %d times", n)
			}
		})
	}
}

func take(b *bench, holder string) {
	if _, err := b.ring.Take(b.t.Context(), holder, time.Now()); err != nil {
		b.t.Fatal(err)
	}
}

// TestKeysSurviveCustody: custody fails just after sys/init, and takes the
// keys when it is back.
func TestKeysSurviveCustody(t *testing.T) {
	b := newBench(t, "vault-0", 0)
	failed, keysNamed := false, false
	b.until("unsealed", func(_ *Sidecar, turn machine.Turn) bool {
		switch {
		case turn.Decision.Name == "empty-claimed":
			b.custody.Fault(secretmanager.Fault{Mode: secretmanager.FaultUnavailable, Method: "AddSecretVersion"})
		case turn.Decision.Name == "keys-in-hand" && turn.Facts.Custody.Is():
			failed = true
			keysNamed = strings.Contains(turn.Decision.Text, "hvs.root") || strings.Contains(turn.Decision.Text, "YQ==")
			b.custody.Heal()
		}
		return turn.Facts.Initialised && !turn.Facts.Sealed
	})
	if !failed || keysNamed {
		t.Errorf("failure told: %t; keys in its text: %t", failed, keysNamed)
	}
	if n := b.vault.initCalls(); n != 1 {
		t.Errorf("sys/init was called %d times", n)
	}
	for i, want := range []string{"YQ==", "Yg==", "Yw==", "ZA==", "ZQ=="} {
		if got, err := b.ring.Get(t.Context(), b.ring.Share(i)); err != nil || string(got) != want {
			t.Errorf("share %d read back differs, error %v", i, err)
		}
	}
	if c, err := b.ring.ReadClaim(t.Context()); err != nil || c.Phase != keys.Stored {
		t.Errorf("claim %+v, error %v; want it complete", c, err)
	}
}

// TestReady: a failed-over pod serves although custody is down, a pod that is
// known to lack its provisioning does not.
func TestReady(t *testing.T) {
	t.Run("active, custody down", func(t *testing.T) {
		b := newBench(t, "vault-1", 1)
		b.vault.initialised, b.vault.sealed, b.vault.active = true, false, true
		b.custody.Fault(secretmanager.Fault{Mode: secretmanager.FaultDeny})
		b.until("failing to provision, yet ready", func(s *Sidecar, turn machine.Turn) bool {
			return turn.Facts.Provision.Is() && s.Ready()
		})
	})
	t.Run("active, no provisioner token anywhere", func(t *testing.T) {
		b := newBench(t, "vault-1", 1)
		b.vault.initialised, b.vault.sealed, b.vault.active = true, false, true
		b.until("failing to provision, and not ready", func(s *Sidecar, turn machine.Turn) bool {
			return turn.Facts.Provision.Is() && !s.Ready()
		})
	})
	t.Run("open in the middle of a restore", func(t *testing.T) {
		b := newBench(t, "vault-0", 0)
		b.vault.initialised, b.vault.sealed = true, false
		mark(b, storage.Restore)
		b.until("open and not ready", func(s *Sidecar, turn machine.Turn) bool {
			return turn.Facts.Role == machine.Standby && turn.Facts.Fresh == storage.Restore && !s.Ready()
		})
	})
	t.Run("standby", func(t *testing.T) {
		b := newBench(t, "vault-1", 1)
		b.vault.initialised, b.vault.sealed = true, false
		b.until("ready", func(s *Sidecar, turn machine.Turn) bool { return row("open-standby")(s, turn) && s.Ready() })
	})
	t.Run("sealed", func(t *testing.T) {
		b := newBench(t, "vault-1", 1)
		b.vault.initialised = true
		b.until("blocked and not ready", func(s *Sidecar, turn machine.Turn) bool {
			return row("sealed-too-few-shares")(s, turn) && !s.Ready()
		})
	})
}

// TestTokensLast: what is known of tokens is told once, and no more when Vault is
// no longer active.
func TestTokensLast(t *testing.T) {
	var told []map[string]time.Time
	s := New(Options{Vault: newBench(t, "vault-1", 1).options.Vault, Ring: &keys.Ring{}, Log: slog.New(slog.DiscardHandler),
		TokensLast: func(until map[string]time.Time) { told = append(told, until) }})
	s.facts.Role = machine.Active
	_ = s.provisioned(provision.Result{Tokens: map[string]time.Time{"handover": time.Now()}}, errors.New("the other one is dead"))
	_ = s.provisioned(provision.Result{}, errors.New("custody is away"))
	if len(told) != 1 || len(told[0]) != 1 {
		t.Fatalf("told %v, want one token once", told)
	}
	for range 2 {
		s.Observe(t.Context()) // it is sealed
	}
	if len(told) != 2 || told[1] != nil {
		t.Errorf("told %v, want none at the end", told)
	}
}

package main

import (
	"encoding/json"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/vaultproof/vaultproof/bootstrap/handover"
	"github.com/vaultproof/vaultproof/bootstrap/internal/realvault"
	"github.com/vaultproof/vaultproof/bootstrap/status"
	"github.com/vaultproof/vaultproof/fixtures/secretmanager"
)

// hook runs the preStop hook of a pod, with Vault's hook beside it or without,
// and returns its log.
func (p *pod) hook(beside bool, extra ...string) (log string, err error) {
	stopping := p.rig.Path(p.Name + ".d/stopping")
	must(p.rig.T, handover.Files{Done: p.done()}.Clear())
	if beside {
		p.rig.File(p.Name+".d/stopping", nil)
		defer os.Remove(stopping)
	}
	var out realvault.Log
	err = handOver(p.rig.T.Context(), append(p.args(), extra...), &out)
	if _, statErr := os.Stat(p.done()); statErr != nil {
		p.rig.T.Errorf("the end was not told: %v", statErr)
	}
	return out.String(), err
}

func (p *pod) done() string { return p.rig.Path(p.Name + ".d/done") }

// handsOver: the active Vault gives its leadership away, and stays a standby.
func handsOver(t *testing.T, r *rig) {
	if !eventually(settle, func() bool { return len(r.voters()) == len(r.pods) }) {
		t.Fatal("not every Vault is a voter")
	}
	old := r.active()
	t.Run("a standby has nothing to hand over", func(t *testing.T) {
		p := r.pods[(indexOf(r, old)+1)%3]
		if log, err := p.hook(true); err != nil || !strings.Contains(log, "not active") {
			t.Errorf("error %v, log %s", err, log)
		}
	})
	t.Run("leadership stays when only the sidecar is stopped", func(t *testing.T) {
		if log, err := old.hook(false); err != nil || !strings.Contains(log, "leadership stays") {
			t.Errorf("error %v, log %s", err, log)
		}
	})
	t.Run("custody denies the token", func(t *testing.T) {
		r.Custody.Fault(secretmanager.Fault{Mode: secretmanager.FaultDeny})
		defer r.Custody.Heal()
		log, err := old.hook(true)
		if err == nil || !strings.Contains(err.Error(), r.Ring.Handover()) || !strings.Contains(log, r.Ring.Handover()) {
			t.Errorf("error %v, log %s; want both to name the secret", err, log)
		}
	})
	if r.active() != old {
		t.Fatal("leadership moved although it should not have")
	}
	begin := time.Now()
	log, err := old.hook(true)
	took := time.Since(begin) - handover.Settle // in which clients follow
	if err != nil {
		t.Fatal(err)
	}
	next := r.active()
	t.Logf("%s to %s in %s: %s", old.Name, next.Name, took.Round(time.Millisecond), log)
	if next == old || took > 1500*time.Millisecond {
		t.Errorf("from %s to %s in %s, want another within 1.5 s", old.Name, next.Name, took)
	}
	if token := r.secret(r.Ring.Handover()); strings.Contains(log, token) {
		t.Error("the log holds the token")
	}
	old.await("a standby, unsealed", settle, func(s status.Status) bool { return ready(s) && s.Role == "standby" })
	next.await("provisioned", settle, func(s status.Status) bool { return s.Provisioned })
	stops(t, old, next)
}

// stops: a Vault that handed over can be stopped without another election.
func stops(t *testing.T, old, next *pod) {
	begin, ended := time.Now(), old.Terminate()
	c := next.Client("")
	for tick := time.NewTicker(50 * time.Millisecond); ; <-tick.C {
		if l, err := c.Sys().Leader(); err != nil || !l.IsSelf {
			t.Fatalf("%s is no longer active %s after %s was told to stop: %+v, error %v", next.Name, time.Since(begin), old.Name, l, err)
		}
		select {
		case <-ended:
			t.Logf("%s ended in %s", old.Name, time.Since(begin).Round(time.Millisecond))
		default:
			if time.Since(begin) > 15*time.Second {
				t.Fatalf("%s did not end in 15 s", old.Name)
			}
			continue
		}
		break
	}
	old.startVault()
	old.await("ready again", settle, ready)
}

// TestEndIsAlwaysTold: whatever is wrong with the hook's surroundings, Vault's
// hook does not wait in vain, and the kubelet hears of it.
func TestEndIsAlwaysTold(t *testing.T) {
	done := filepath.Join(t.TempDir(), "done")
	good := []string{"-custody-project=p", "-pod-name=vault-0", "-handover-done=" + done, "-vault-addr=https://127.0.0.1:1"}
	for name, tt := range map[string]struct {
		extra []string
		want  string // in the error; none if empty
	}{
		"nothing listens":    {nil, ""},
		"no pod name":        {[]string{"-pod-name="}, "-pod-name"},
		"vault out of reach": {[]string{"-vault-addr=https://10.1.2.3:8200"}, "-vault-addr"},
	} {
		t.Run(name, func(t *testing.T) {
			must(t, handover.Files{Done: done}.Clear())
			var out realvault.Log
			err := handOver(t.Context(), append(slices.Clone(good), tt.extra...), &out)
			if (err != nil) != (tt.want != "") || (err != nil && !strings.Contains(err.Error(), tt.want)) {
				t.Errorf("error %v, want %q", err, tt.want)
			}
			if _, err := os.Stat(done); err != nil {
				t.Errorf("the end was not told: %v", err)
			}
			if line := out.String(); strings.Count(line, "\n") != 1 || !json.Valid([]byte(line)) {
				t.Errorf("logged %q, want one line", line)
			}
		})
	}
	err := handOver(t.Context(), []string{"-custody-project=p", "-pod-name=vault-0", "-handover-done=" + filepath.Join(t.TempDir(), "none", "done")}, io.Discard)
	if err == nil || !strings.Contains(err.Error(), "-handover-done") {
		t.Errorf("no shared volume: error %v, want one that names the flag", err)
	}
}

package main

import (
	"context"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/vaultproof/vaultproof/bootstrap/status"
)

// TestCrash kills the sidecar at one moment after another of a first start,
// and lets the next one find what is left. Either it ends with an unsealed
// Vault whose shares are all in custody, or it says plainly what is missing.
func TestCrash(t *testing.T) {
	if testing.Short() {
		t.Skip("starts a Vault for each moment; left out with -short")
	}
	vaultBinary(t)
	binary := filepath.Join(t.TempDir(), "bootstrap")
	if out, err := exec.Command("go", "build", "-tags=failpoints", "-o", binary, ".").CombinedOutput(); err != nil {
		t.Fatalf("building the sidecar with failpoints: %v\n%s", err, out)
	}
	serves := func(s status.Status) bool { return ready(s) && s.Provisioned }
	blocked := func(parts ...string) func(status.Status) bool {
		return func(s status.Status) bool {
			for _, p := range parts {
				if !strings.Contains(s.Why, p) {
					return false
				}
			}
			return !s.Ready
		}
	}
	lost := blocked("vault-unseal-share-", "never opened", "volume claim")
	for _, tt := range []struct {
		moment string
		ends   func(status.Status) bool
	}{
		{"before-prove custody", serves},
		{"after-create-claim", serves},
		{"after-add-vault-init-claim", serves},
		{"before-sys/init", serves},
		{"after-sys/init", lost},
		{"after-add-vault-unseal-share-1", lost},
		{"after-add-vault-unseal-share-2", blocked("vault-root-token", "generate-root")},
		{"after-add-vault-unseal-share-4", blocked("vault-root-token", "generate-root")},
		{"after-add-vault-root-token", serves},
		{"after-store keys", serves},
		{"before-unseal", serves},
		{"after-unseal", serves},
		{"after-policy-admin", serves},
		{"after-create-token", serves},
		{"after-add-vault-handover-token", serves},
		{"after-add-vault-provisioner-token", serves},
		{"after-provision", serves},
	} {
		t.Run(strings.ReplaceAll(tt.moment, "/", "-"), func(t *testing.T) {
			r := newRig(t, 1)
			p := r.pods[0]
			p.startVault()
			crash(t, p, binary, tt.moment)
			before := r.versions()
			p.startSidecar()
			s := p.await("at its end", settle, tt.ends)
			t.Logf("%s: %s", s.State, s.Why)
			for i := range 5 {
				if n := r.versions()[r.ring.Share(i)]; n > 1 || n < before[r.ring.Share(i)] {
					t.Errorf("share %d has %d versions", i, n)
				}
			}
		})
	}
}

// crash runs the sidecar as a process until it kills itself at the moment.
func crash(t *testing.T, p *pod, binary, moment string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), settle)
	defer cancel()
	cmd := exec.CommandContext(ctx, binary, append(p.args(), "-failpoints", moment)...)
	cmd.Env = []string{"PATH=" + os.Getenv("PATH")}
	cmd.Stdout, cmd.Stderr = &p.log, &p.log
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	err := cmd.Run()
	var exit *exec.ExitError
	if !errors.As(err, &exit) || ctx.Err() != nil || exit.Sys().(syscall.WaitStatus).Signal() != syscall.SIGKILL {
		t.Fatalf("the sidecar never came to the moment %q: %v", moment, err)
	}
}

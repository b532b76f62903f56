package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/vaultproof/vaultproof/bootstrap/internal/realvault"
	"github.com/vaultproof/vaultproof/bootstrap/status"
	"github.com/vaultproof/vaultproof/fixtures/secretmanager"
	"github.com/vaultproof/vaultproof/pkg/custody"
)

// matrix is an environment variable. "every" takes every moment of the records,
// "full" crosses them with every state of custody, too. Without it, moments are
// left out that leave behind what another one does.
const matrix = "CRASH_MATRIX"

// healthy is a custody without a fault.
const healthy secretmanager.FaultMode = ""

func serves(s status.Status) bool { return ready(s) && s.Provisioned }

// TestCrash kills the sidecar at the moments of a first start, and then at those
// of the recovery from a crash that lost keys, and lets the next sidecar find
// what is left. It must always end with a Vault that serves, and all its keys in
// custody. The moments are those that a run recorded, so there is no list to keep.
func TestCrash(t *testing.T) {
	if testing.Short() {
		t.Skip("starts a Vault for each moment; left out with -short")
	}
	realvault.Binary(t)
	binary := withFailpoints(t)
	faults := []secretmanager.FaultMode{healthy}
	if os.Getenv(matrix) == "full" {
		faults = append(faults, secretmanager.FaultDeny, secretmanager.FaultUnavailable, secretmanager.FaultDelay)
	}
	const lost = "after-add-vault-unseal-share-2" // enough to open it, but not all
	first := record(t, binary, "")
	second := slices.DeleteFunc(record(t, binary, lost), func(m string) bool { return slices.Contains(first, m) })
	t.Logf("%d moments of a first start, and %d more of the recovery from a crash at %s", len(first), len(second), lost)
	for _, part := range []string{"rebuild", "disable-vault-unseal-share-2"} {
		if !slices.ContainsFunc(second, func(m string) bool { return strings.Contains(m, part) }) {
			t.Fatalf("no moment of the recovery is of %q: %q", part, second)
		}
	}
	var mu sync.Mutex
	var table []string
	cell := func(t *testing.T, fault secretmanager.FaultMode, moments ...string) {
		name := strings.Join(moments, ", then ")
		t.Run(strings.ReplaceAll(name, "/", "-"), func(t *testing.T) {
			t.Parallel()
			begin := time.Now()
			emptied := crashCell(t, binary, fault, moments)
			mu.Lock()
			defer mu.Unlock()
			table = append(table, fmt.Sprintf("%-12s %-70s serves, storage emptied %d times, %.1f s", cmp.Or(fault, "healthy"), name, emptied, time.Since(begin).Seconds()))
		})
	}
	for _, fault := range faults {
		t.Run("custody "+string(cmp.Or(fault, "healthy")), func(t *testing.T) {
			for _, m := range sample(first) {
				cell(t, fault, m)
			}
			for _, m := range sample(second) {
				cell(t, fault, lost, m)
			}
		})
	}
	slices.Sort(table)
	t.Logf("crash matrix, %d cells:\n%s", len(table), strings.Join(table, "\n"))
}

// sample leaves out moments that find what the one before left, and those that
// differ from another in a share's number alone.
func sample(moments []string) []string {
	if os.Getenv(matrix) != "" {
		return moments
	}
	return slices.DeleteFunc(slices.Clone(moments), func(m string) bool {
		return strings.HasPrefix(m, "before-") ||
			strings.Contains(m, "-unseal-share-") && !strings.HasSuffix(m, "0") && !strings.HasSuffix(m, "4")
	})
}

// crashCell crashes at one moment after another, lets the next sidecar begin
// with the fault and end without, and returns how often the storage was emptied.
func crashCell(t *testing.T, binary string, fault secretmanager.FaultMode, moments []string) int {
	r := newRig(t, 1)
	p := r.pods[0]
	p.extra = []string{"-keep-root-token=false"}
	p.startVault()
	p.kubelet()
	for _, m := range moments {
		crash(t, p, binary, m)
	}
	stored := r.stored()
	if fault != healthy {
		r.Custody.Fault(secretmanager.Fault{Mode: fault, DelayMS: 1000})
	}
	p.startSidecar()
	if fault != healthy {
		s := p.await("past its start", settle, func(s status.Status) bool { return s.State != "starting" && s.State != "connecting" })
		if !eventually(3*time.Second, func() bool { s, _ = p.status(); return serves(s) }) && s.Why == "" {
			t.Errorf("state %s under %s without a reason", s.State, fault)
		}
		t.Logf("under %s: %s: %s", fault, s.State, s.Why)
		r.Custody.Heal()
	}
	p.await("serving", settle, serves)
	if stored && p.rebuilds.Load() > 0 {
		t.Error("a storage was emptied whose keys had all been stored")
	}
	complete(t, p)
	return int(p.rebuilds.Load())
}

// stored tells whether the claim says that all keys are in custody.
func (r *rig) stored() bool {
	c, err := r.Ring.ReadClaim(r.T.Context())
	must(r.T, err)
	return c.Phase == "stored"
}

// complete checks that custody holds one good version of every share, that
// they open this very Vault, and that no mark is left on its storage.
func complete(t *testing.T, p *pod) {
	t.Helper()
	r := p.rig
	for i := range 5 {
		versions, err := r.Store.Versions(t.Context(), r.Ring.Share(i))
		must(t, err)
		enabled := slices.DeleteFunc(versions, func(v custody.Version) bool { return v.State != custody.Enabled })
		if len(enabled) != 1 {
			t.Errorf("share %d has %d enabled versions, want 1", i, len(enabled))
		}
	}
	if !r.stored() {
		t.Error("the claim is not signed as stored")
	}
	for _, mark := range []string{"fresh", "rebuild"} {
		if _, err := os.Stat(filepath.Join(p.markers(), mark)); !errors.Is(err, os.ErrNotExist) {
			t.Errorf("the mark %s is left: %v", mark, err)
		}
	}
	p.Kill()
	p.await("silent", settle, func(s status.Status) bool { return !s.Answers })
	p.startVault()
	p.await("serving after a restart of Vault", settle, serves)
}

// withFailpoints builds the sidecar with its failpoints.
func withFailpoints(t *testing.T) (binary string) {
	t.Helper()
	binary = filepath.Join(t.TempDir(), "bootstrap")
	if out, err := exec.Command("go", "build", "-tags=failpoints", "-o", binary, ".").CombinedOutput(); err != nil {
		t.Fatalf("building the sidecar with failpoints: %v\n%s", err, out)
	}
	return binary
}

// record lists the moments that a sidecar goes through until it serves and is
// stopped, each once; the sidecar before it crashed at the moment given, if any.
func record(t *testing.T, binary, crashed string) (moments []string) {
	t.Helper()
	r := newRig(t, 1)
	p := r.pods[0]
	p.startVault()
	p.kubelet()
	if crashed != "" {
		crash(t, p, binary, crashed)
	}
	file := r.Path("moments")
	cmd := p.process(t.Context(), binary, "-failpoints-record", file)
	must(t, cmd.Start())
	p.await("serving", settle, serves)
	must(t, cmd.Process.Signal(syscall.SIGTERM))
	must(t, cmd.Wait())
	p.Kill()
	raw, err := os.ReadFile(file)
	must(t, err)
	for _, m := range strings.Split(strings.TrimSpace(string(raw)), "\n") {
		if !slices.Contains(moments, m) {
			moments = append(moments, m)
		}
	}
	return moments
}

// crash runs the sidecar as a process until it kills itself at the moment.
func crash(t *testing.T, p *pod, binary, moment string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), settle)
	defer cancel()
	err := p.process(ctx, binary, "-failpoints", moment).Run()
	var exit *exec.ExitError
	if !errors.As(err, &exit) || ctx.Err() != nil || exit.Sys().(syscall.WaitStatus).Signal() != syscall.SIGKILL {
		t.Fatalf("the sidecar never came to the moment %q: %v", moment, err)
	}
}

// process is the sidecar of a pod as a process of its own, with the defaults
// that the StatefulSet leaves.
func (p *pod) process(ctx context.Context, binary string, extra ...string) *exec.Cmd {
	cmd := exec.CommandContext(ctx, binary, append(append(p.args(), "-keep-root-token=false"), extra...)...)
	cmd.Env = []string{"PATH=" + os.Getenv("PATH")}
	cmd.Stdout, cmd.Stderr = &p.log, &p.log
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	return cmd
}

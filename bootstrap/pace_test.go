package main

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/vaultproof/vaultproof/bootstrap/internal/realvault"
	"github.com/vaultproof/vaultproof/bootstrap/status"
)

// measure is an environment variable. If it is set, the measurements below are
// those to be quoted: 20 restarts, and a minute of idling.
const measure = "MEASURE"

// TestReunseal restarts a standby and measures from its listener's first answer
// to unsealed, with a clock that is not the sidecar's.
func TestReunseal(t *testing.T) {
	if testing.Short() {
		t.Skip("restarts Vault again and again; left out with -short")
	}
	trials := 5
	if os.Getenv(measure) != "" {
		trials = 20
	}
	r := newRig(t, 3)
	for _, p := range r.pods {
		p.startVault()
		p.startSidecar()
	}
	for _, p := range r.pods {
		p.await("serving", settle, ready)
	}
	p := r.pods[(indexOf(r, r.active())+1)%3]
	var took []time.Duration
	for range trials {
		p.Kill()
		p.await("silent", settle, func(s status.Status) bool { return !s.Answers })
		p.startVault()
		took = append(took, p.unsealsWithin(t))
		p.await("serving", settle, ready)
	}
	slices.Sort(took)
	median, p95 := took[len(took)/2], took[(len(took)*95+99)/100-1]
	t.Logf("%d restarts, from the listener's first answer to unsealed: median %s, p95 %s, all %s", trials, median, p95, took)
	if median > 250*time.Millisecond || p95 > time.Second {
		t.Errorf("median %s and p95 %s, want 250 ms and 1 s at most", median, p95)
	}
}

// unsealsWithin measures from Vault's first answer to the first that says it is
// unsealed, on a clock of 5 ms.
func (p *pod) unsealsWithin(t *testing.T) time.Duration {
	t.Helper()
	c := p.Client("")
	c.SetMaxRetries(0)
	var answered time.Time
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for end := time.Now().Add(settle); time.Now().Before(end); <-tick.C {
		s, err := c.Sys().SealStatus()
		if err == nil && answered.IsZero() {
			answered = time.Now()
		}
		if err == nil && !s.Sealed {
			return time.Since(answered)
		}
	}
	t.Fatal("it was never unsealed")
	return 0
}

// TestIdle measures what the sidecar costs beside a healthy Vault, active and
// standby.
func TestIdle(t *testing.T) {
	if testing.Short() {
		t.Skip("idles for a while; left out with -short")
	}
	realvault.Binary(t)
	span := 20 * time.Second
	if os.Getenv(measure) != "" {
		span = time.Minute
	}
	binary := filepath.Join(t.TempDir(), "bootstrap")
	if out, err := exec.Command("go", "build", "-o", binary, ".").CombinedOutput(); err != nil {
		t.Fatalf("building the sidecar: %v\n%s", err, out)
	}
	ctx, cancel := context.WithCancel(t.Context())
	r := newRig(t, 3)
	var sidecars []*exec.Cmd
	for _, p := range r.pods {
		p.startVault()
		sidecars = append(sidecars, p.process(ctx, binary, "-log-level=info"))
		must(t, sidecars[len(sidecars)-1].Start())
	}
	t.Cleanup(func() {
		cancel()
		for _, c := range sidecars {
			_ = c.Wait() // killed
		}
	})
	for _, p := range r.pods {
		p.await("serving", settle, ready)
	}
	active := r.active()
	active.await("provisioned", settle, serves)
	before := map[string]time.Duration{}
	for i, p := range r.pods {
		before[p.Name] = cpuTime(t, sidecars[i].Process.Pid)
	}
	<-time.After(span) // the measurement itself
	for i, p := range r.pods {
		role := "standby"
		if p == active {
			role = "active"
		}
		pid := sidecars[i].Process.Pid
		share := float64(cpuTime(t, pid)-before[p.Name]) / float64(span) * 100
		t.Logf("beside the %s Vault: %.2f %% of a core over %s, %s of memory", role, share, span, resident(t, pid))
		if share > 0.5 {
			t.Errorf("%.2f %% of a core beside an idle %s Vault, want 0.5 at most", share, role)
		}
	}
}

// cpuTime is what a process has used, by /proc/PID/stat.
func cpuTime(t *testing.T, pid int) time.Duration {
	t.Helper()
	raw, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	must(t, err)
	_, rest, _ := strings.Cut(string(raw), ") ") // the name may hold spaces
	fields := strings.Fields(rest)
	var ticks int64
	for _, i := range []int{11, 12} { // utime and stime, counted from the state
		n, err := strconv.ParseInt(fields[i], 10, 64)
		must(t, err)
		ticks += n
	}
	return time.Duration(ticks) * 10 * time.Millisecond // USER_HZ is 100 on every Linux
}

// resident is the memory of a process, by /proc/PID/status.
func resident(t *testing.T, pid int) string {
	t.Helper()
	raw, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	must(t, err)
	_, rest, _ := strings.Cut(string(raw), "VmRSS:")
	line, _, _ := strings.Cut(rest, "\n")
	return strings.TrimSpace(line)
}

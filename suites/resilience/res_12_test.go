package resilience

import (
	"strings"
	"testing"
	"time"

	"github.com/vaultproof/vaultproof/pkg/alert"
	"github.com/vaultproof/vaultproof/pkg/history"
	"github.com/vaultproof/vaultproof/suites/trial"
)

var fullDisk = trial.Result{
	Active: "vault-0", At: time.Date(2026, 5, 1, 12, 0, 0, 0, time.UTC), Undone: time.Date(2026, 5, 1, 12, 0, 30, 0, time.UTC),
}

func TestFailedClosed(t *testing.T) {
	full := fullDisk.At.Add(time.Second)
	op := func(kind history.Kind, pod string, after time.Duration, outcome history.Outcome) history.Op {
		return history.Op{Kind: kind, Pod: pod, Call: full.Add(after).UnixNano(), Outcome: outcome}
	}
	for name, c := range map[string]struct {
		op   history.Op
		want string
	}{
		"before it":       {op(history.Write, "vault-0", -time.Millisecond, history.OK), ""},
		"refused":         {op(history.Write, "vault-0", time.Second, history.Fail), ""},
		"by another one":  {op(history.Write, "vault-1", time.Second, history.OK), ""},
		"a read":          {op(history.Read, "vault-0", time.Second, history.OK), ""},
		"with room again": {op(history.Write, "vault-0", 40*time.Second, history.OK), ""},
		"acknowledged":    {op(history.Write, "vault-0", 1500*time.Millisecond, history.OK), "vault-0 acknowledged a change (write) at 12:00:02.500, 1.5s after"},
		"an entry":        {op(history.Append, "vault-0", time.Second, history.OK), "acknowledged a change (append)"},
	} {
		err := failedClosed(fullDisk, full, fullDisk.Undone.Add(time.Minute), []history.Op{c.op})
		if (c.want == "") != (err == nil) || err != nil && !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %v, want %q", name, err, c.want)
		}
	}
	// The container was restarted, which gave it room, and is active by right.
	late := []history.Op{op(history.Write, "vault-0", 10*time.Second, history.OK)}
	if err := failedClosed(fullDisk, full, full.Add(5*time.Second), late); err != nil {
		t.Error(err)
	}
}

func TestTold(t *testing.T) {
	firing := func(name string, after time.Duration) alert.Firing {
		return alert.Firing{Alert: name, At: fullDisk.At.Add(after)}
	}
	for name, c := range map[string]struct {
		fired []alert.Firing
		want  string
	}{
		"told":            {[]alert.Firing{firing("VaultNoActive", 5*time.Second), firing("VaultQuorumAtRisk", 10*time.Second)}, ""},
		"silence":         {nil, "no alert told that the disk of pod vault-0 was full"},
		"of other things": {[]alert.Firing{firing("VaultNoActive", 5*time.Second)}, "rules that held: [VaultNoActive]"},
		"since before":    {[]alert.Firing{firing("VaultDiskFilling", -5*time.Second)}, "no alert told"},
	} {
		err := told(fullDisk, c.fired)
		if (c.want == "") != (err == nil) || err != nil && !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %v, want %q", name, err, c.want)
		}
	}
	rules, err := alert.Stock()
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range diskAlerts {
		if _, ok := rules.Named(name); !ok {
			t.Errorf("the stack has no alert %s", name)
		}
	}
}

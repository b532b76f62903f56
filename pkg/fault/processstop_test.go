package fault

import (
	"strings"
	"testing"
)

func TestAllStopped(t *testing.T) {
	for name, c := range map[string]struct {
		stats string
		want  bool
		says  string
	}{
		"stopped":              {"1 (vault) T 0 1 1\n23 (sh) T 1 1 1\n", true, "1 vault, 23 sh"},
		"a dead child":         {"1 (vault) T 0 1 1\n23 (sleep) Z 1 1 1\n", true, "process 1 vault in state T"},
		"one goes on":          {"1 (vault) S 0 1 1\n23 (sh) T 1 1 1\n", false, "process 1 vault is in state S"},
		"traced, not stopped":  {"1 (vault) t 0 1 1\n", false, "state t"},
		"only a corpse":        {"1 (vault) Z 0 1 1\n", false, "no process that is stopped"},
		"nothing was read":     {"", false, "no process"},
		"a name with brackets": {"1 (a) T (b) S 0 1 1\n", false, "state S"},
	} {
		evidence, got := allStopped(c.stats)
		if got != c.want || !strings.Contains(evidence, c.says) {
			t.Errorf("%s: witness %v (%s), want %v with %q", name, got, evidence, c.want, c.says)
		}
	}
}

// The scripts do to a real process what they say.
func TestStopAndContinueAProcess(t *testing.T) {
	pid := sleeper(t)
	if _, stopped := allStopped(stat(t, pid)); stopped {
		t.Fatal("a process that was not stopped counts as stopped")
	}
	if got := shell(t, processesGiven+continueScript, pid); got != "" {
		t.Errorf("continued %q of a process that goes on", got)
	}
	if got := shell(t, processesGiven+stopScript, pid); got != pid {
		t.Errorf("stopped %q, want %s", got, pid)
	}
	eventually(t, "the stop", func() bool { _, stopped := allStopped(stat(t, pid)); return stopped })
	if got := shell(t, processesGiven+continueScript, pid); got != "process "+pid {
		t.Errorf("continued %q, want process %s", got, pid)
	}
	eventually(t, "the continuation", func() bool { _, stopped := allStopped(stat(t, pid)); return !stopped })
}

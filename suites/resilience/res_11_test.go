package resilience

import (
	"strings"
	"testing"
	"time"

	"github.com/vaultproof/vaultproof/pkg/probe"
	"github.com/vaultproof/vaultproof/pkg/report"
	"github.com/vaultproof/vaultproof/suites/trial"
)

func TestBypassed(t *testing.T) {
	at := time.Date(2026, 5, 1, 12, 0, 0, 0, time.UTC)
	result := func(routed *float64, outage time.Duration) trial.Result {
		return trial.Result{
			Active: "vault-0", At: at, Undone: at.Add(stoppedFor), Phases: report.Phases{Routed: routed},
			Outage: probe.Window{Start: at, End: at.Add(outage), Failed: 3, FirstError: "timeout"},
		}
	}
	untouched := result(report.MS(2500), 0)
	untouched.Outage = probe.Window{}
	for name, c := range map[string]struct {
		res  trial.Result
		want string
	}{
		"bypassed":       {result(report.MS(2500), 5*time.Second), ""},
		"nobody noticed": {untouched, ""},
		"never routed":   {result(nil, 5*time.Second), "had not left pod vault-0"},
		"woken up":       {result(report.MS(16000), 5*time.Second), "had not left pod vault-0"},
		"clients hung":   {result(report.MS(2500), 16*time.Second), "operations failed until 12:00:16.000"},
	} {
		err := bypassed(c.res)
		if (c.want == "") != (err == nil) || err != nil && !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %v, want %q", name, err, c.want)
		}
	}
}

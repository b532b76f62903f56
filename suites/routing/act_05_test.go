package routing

import (
	"strings"
	"testing"
	"time"

	"github.com/vaultproof/vaultproof/pkg/report"
	"github.com/vaultproof/vaultproof/pkg/timeline"
	"github.com/vaultproof/vaultproof/suites/trial"
)

// crash is a trial in which vault-0 was hit at 0 s and vault-1 took over.
func crash(events ...timeline.Event) trial.Result {
	before := []timeline.Event{leader("vault-0", "active", -60), label("vault-0", "true", -60), endpoints("vault-0", -60)}
	return trial.Result{
		ID: "ACT-05#1", Kind: "crash-loop", Target: "vault-0", Active: "vault-0",
		At: sec(0), Undone: sec(30), End: sec(60), Events: append(before, events...),
	}
}

func TestNeutralised(t *testing.T) {
	budget := 5 * time.Second
	for name, c := range map[string]struct {
		res  trial.Result
		want string
	}{
		"in time":          {crash(label("vault-0", "false", 3)), ""},
		"the pod is gone":  {crash(label("vault-0", "gone", 3)), ""},
		"active again":     {crash(label("vault-0", "false", 3), leader("vault-0", "standby", 10), leader("vault-0", "active", 20), label("vault-0", "true", 20.1)), ""},
		"never":            {crash(), "bore vault-active=true from 12:00:00.000 to 12:01:00.000"},
		"too late":         {crash(label("vault-0", "false", 6)), "up to 6s after ACT-05#1"},
		"back by itself":   {crash(label("vault-0", "false", 1), label("vault-0", "true", 12), label("vault-0", "false", 13)), "from 12:00:12.000"},
		"back as standby":  {crash(label("vault-0", "false", 1), leader("vault-0", "standby", 10), label("vault-0", "true", 12)), "from 12:00:12.000"},
		"a blink of reach": {crash(leader("vault-0", "unreachable", 0.1), leader("vault-0", "active", 0.2)), "up to 1m0s"},
	} {
		err := neutralised(c.res, budget)
		if (c.want == "") != (err == nil) || err != nil && !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %v, want %q", name, err, c.want)
		}
	}
	if err := neutralised(crash(label("vault-0", "false", 1)), 0); err == nil {
		t.Error("without a budget everything passes")
	}
}

func TestRecovered(t *testing.T) {
	budget := 5 * time.Second
	routed := func(res trial.Result, ms float64) trial.Result {
		res.Phases = report.Phases{Routed: report.MS(ms)}
		return res
	}
	for name, c := range map[string]struct {
		res  trial.Result
		want string
	}{
		"in time":         {routed(crash(endpoints("", 1), endpoints("vault-1", 3)), 3000), ""},
		"both for long":   {routed(crash(endpoints("vault-0,vault-1", 3), endpoints("vault-1", 8)), 8000), "list pod vault-0 as ready 5s after ACT-05#1"},
		"listed again":    {routed(crash(endpoints("vault-1", 3), endpoints("vault-0,vault-1", 15), endpoints("vault-1", 16)), 3000), "list pod vault-0 as ready 15s after"},
		"nobody at all":   {crash(endpoints("", 1)), "had the new active pod alone as its endpoint never"},
		"routed too late": {routed(crash(endpoints("", 1), endpoints("vault-1", 9)), 9000), "alone as its endpoint 9s after"},
	} {
		err := recovered(c.res, "vault-active", budget)
		if (c.want == "") != (err == nil) || err != nil && !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %v, want %q", name, err, c.want)
		}
	}
}

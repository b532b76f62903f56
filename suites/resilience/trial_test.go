package resilience

import (
	"strings"
	"testing"
	"time"

	"github.com/vaultproof/vaultproof/pkg/probe"
	"github.com/vaultproof/vaultproof/pkg/report"
)

func outage(length time.Duration) result {
	start := time.Date(2026, 5, 1, 12, 0, 0, 0, time.UTC)
	return result{
		id: "RES-02#1", kind: "process-kill", target: "vault-0",
		outage: probe.Window{Start: start, End: start.Add(length), Failed: 7, FirstError: "write: connection refused"},
		phases: report.Phases{Elected: report.MS(1800)},
	}
}

func TestWithinBudget(t *testing.T) {
	budget := 3 * time.Second
	open := outage(time.Second)
	open.outage.Open = true
	many := make([]result, 0, 20)
	for range 19 {
		many = append(many, outage(time.Second))
	}
	for name, c := range map[string]struct {
		results []result
		want    string
	}{
		"within":          {[]result{outage(3 * time.Second)}, ""},
		"no outage":       {[]result{{}}, ""},
		"over":            {[]result{outage(3100 * time.Millisecond)}, "for 3.1s, budget 3s; 7 failed, the first with: write: connection refused; after the injection detected never seen, elected at 1800 ms"},
		"one of two over": {[]result{outage(4 * time.Second), outage(time.Second)}, "for 4s"},
		"one of 20 over":  {append(many[:19:19], outage(9*time.Second)), ""},
		"two of 20 over":  {append(many[:18:18], outage(9*time.Second), outage(8*time.Second)), "for 8s"},
		"never recovered": {[]result{open}, "still failing"},
		"no trial at all": {nil, "no trial"},
	} {
		err := withinBudget(c.results, budget)
		if (c.want == "") != (err == nil) || err != nil && !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %v, want %q", name, err, c.want)
		}
	}
	if err := withinBudget([]result{outage(0)}, 0); err == nil {
		t.Error("without a budget every outage passes")
	}
}

package trial

import (
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/vaultproof/vaultproof/pkg/probe"
	"github.com/vaultproof/vaultproof/pkg/report"
)

func outage(length time.Duration) Result {
	start := time.Date(2026, 5, 1, 12, 0, 0, 0, time.UTC)
	return Result{
		ID: "RES-02#1", Kind: "process-kill", Target: "vault-0",
		Outage: probe.Window{Start: start, End: start.Add(length), Failed: 7, FirstError: "write: connection refused"},
		Phases: report.Phases{Elected: report.MS(1800)},
	}
}

func TestWithinBudget(t *testing.T) {
	budget := 3 * time.Second
	open := outage(time.Second)
	open.Outage.Open = true
	many := make([]Result, 0, 20)
	for range 19 {
		many = append(many, outage(time.Second))
	}
	for name, c := range map[string]struct {
		results []Result
		want    string
	}{
		"within":          {[]Result{outage(3 * time.Second)}, ""},
		"no outage":       {[]Result{{}}, ""},
		"over":            {[]Result{outage(3100 * time.Millisecond)}, "for 3.1s, budget 3s; 7 failed, the first with: write: connection refused; after the injection detected never seen, elected at 1800 ms"},
		"one of two over": {[]Result{outage(4 * time.Second), outage(time.Second)}, "for 4s"},
		"one of 20 over":  {append(many[:19:19], outage(9*time.Second)), ""},
		"two of 20 over":  {append(many[:18:18], outage(9*time.Second), outage(8*time.Second)), "for 8s"},
		"never recovered": {[]Result{open}, "still failing"},
		"no trial at all": {nil, "no trial"},
	} {
		err := WithinBudget(c.results, budget)
		if (c.want == "") != (err == nil) || err != nil && !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %v, want %q", name, err, c.want)
		}
	}
	if err := WithinBudget([]Result{outage(0)}, 0); err == nil {
		t.Error("without a budget every outage passes")
	}
}

func TestTookOver(t *testing.T) {
	if err := TookOver(Result{Phases: report.Phases{Elected: report.MS(1200)}}); err != nil {
		t.Error(err)
	}
	err := TookOver(Result{ID: "RES-01#1", Kind: "pod-delete", Target: "vault-0", Active: "vault-0"})
	if err == nil || !strings.Contains(err.Error(), "take over from vault-0") {
		t.Errorf("without an election: %v", err)
	}
}

func TestMilestonesOfAResult(t *testing.T) {
	at := time.Date(2026, 5, 1, 12, 0, 0, 0, time.UTC)
	res := Result{At: at, Phases: report.Phases{Elected: report.MS(1800)}}
	if got := res.Elected(); !got.Equal(at.Add(1800 * time.Millisecond)) {
		t.Errorf("elected at %v", got)
	}
	if got := res.Routed(); !got.IsZero() {
		t.Errorf("routed at %v, though that was never seen", got)
	}
}

func TestSomeOf(t *testing.T) {
	first, second := errors.New("first"), errors.New("second")
	for want, err := range map[string]error{
		"first":                            someOf([]error{first}, 1),
		"2 of 20 trials, the first: first": someOf([]error{first, second}, 20),
	} {
		if err == nil || err.Error() != want || !errors.Is(err, first) {
			t.Errorf("%v, want %q", err, want)
		}
	}
	if err := someOf(nil, 20); err != nil {
		t.Error(err)
	}
}

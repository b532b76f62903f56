package routing

import (
	"strings"
	"testing"

	"github.com/vaultproof/vaultproof/pkg/history"
	"github.com/vaultproof/vaultproof/pkg/probe"
	"github.com/vaultproof/vaultproof/pkg/report"
	"github.com/vaultproof/vaultproof/pkg/timeline"
)

func answer(pod string, call, ret float64, outcome history.Outcome) history.Op {
	return history.Op{Kind: history.Read, Key: "k1", Pod: pod, Call: sec(call).UnixNano(), Return: sec(ret).UnixNano(), Outcome: outcome}
}

// served is an operation that was due and answered at these seconds.
func served(pod string, due, at float64, ok bool) timeline.Event {
	return timeline.Event{At: sec(due), Kind: timeline.Operation, Subject: "read", Value: pod, OK: ok, LatencyMS: (at - due) * 1000}
}

// takeover is a failover from a to b at 10 s: a is out of reach from 9 s on and
// a standby from 20 s on.
func takeover() []timeline.Event {
	return []timeline.Event{
		leader("a", "active", 0), leader("b", "standby", 0), leader("a", "unreachable", 9), leader("b", "active", 10), leader("a", "standby", 20),
	}
}

func TestOnlyActiveAnswered(t *testing.T) {
	for name, c := range map[string]struct {
		op   timeline.Event
		want string
	}{
		"the active":                     {served("a", 5, 5.1, true), ""},
		"the new active":                 {served("b", 11, 11.1, true), ""},
		"just before its sample arrived": {served("b", 9.9, 9.96, true), ""},
		"a slow answer across it":        {served("a", 8.9, 10.5, true), ""},
		"out of reach, nobody active":    {served("a", 9.4, 9.49, true), ""},
		"a failure of a standby":         {served("b", 5, 5.1, false), ""},
		"a pod never seen":               {served("c", 9.2, 9.3, true), ""},
		"a standby":                      {served("b", 5, 5.1, true), ", and from 12:00:05.000 on it said of itself standby, while a was active"},
		"long before its sample":         {served("b", 9.4, 9.5, true), "said of itself standby, while no pod was active"},
		"a standby again":                {served("a", 30, 30.1, true), "pod a answered"},
		"out of reach, another active":   {served("a", 12, 12.1, true), "said of itself unreachable, while b was active"},
		"a pod never seen, other active": {served("c", 12, 12.1, true), "it had never been asked what it is, while b was active"},
	} {
		events := append(takeover(), c.op)
		from, to := loadIn(events)
		err := onlyActiveAnswered(probe.Route(events, "vault-active", from, to).Strays)
		if (c.want == "") != (err == nil) || err != nil && !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %v, want %q", name, err, c.want)
		}
	}
}

func TestFailoversIn(t *testing.T) {
	if n := failoversIn(takeover()); n != 1 {
		t.Errorf("%d failovers, want 1", n)
	}
	restarted := []timeline.Event{leader("a", "active", 0), leader("a", "unreachable", 1), leader("a", "active", 2)}
	if n := failoversIn(restarted); n != 0 {
		t.Errorf("%d failovers of a pod to itself, want none", n)
	}
}

func TestBudgetsKept(t *testing.T) {
	fault := func(id string, outage, budget float64) report.Fault {
		return report.Fault{ID: id, Check: "RES-01", Kind: "pod-delete", Target: "vault-0", OutageMS: outage, BudgetMS: budget}
	}
	for name, c := range map[string]struct {
		faults []report.Fault
		want   string
	}{
		"kept":      {[]report.Fault{fault("RES-01#1", 2500, 2500)}, ""},
		"no budget": {[]report.Fault{fault("ACT-08#1", 60000, 0)}, ""},
		"over":      {[]report.Fault{fault("RES-01#1", 100, 2500), fault("RES-01#2", 2600, 2500)}, "clients suffered 2600 ms after RES-01#2"},
	} {
		err := budgetsKept(c.faults)
		if (c.want == "") != (err == nil) || err != nil && !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %v, want %q", name, err, c.want)
		}
	}
}

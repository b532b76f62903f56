package routing

import (
	"strings"
	"testing"

	"github.com/vaultproof/vaultproof/pkg/history"
	"github.com/vaultproof/vaultproof/pkg/report"
	"github.com/vaultproof/vaultproof/pkg/timeline"
)

func answer(pod string, call, ret float64, outcome history.Outcome) history.Op {
	return history.Op{Kind: history.Read, Key: "k1", Pod: pod, Call: sec(call).UnixNano(), Return: sec(ret).UnixNano(), Outcome: outcome}
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
		op   history.Op
		want string
	}{
		"the active":                     {answer("a", 5, 5.1, history.OK), ""},
		"the new active":                 {answer("b", 11, 11.1, history.OK), ""},
		"before its sample arrived":      {answer("b", 9.6, 9.7, history.OK), ""},
		"a slow answer across it":        {answer("a", 8.9, 10.5, history.OK), ""},
		"out of reach, nobody active":    {answer("a", 9.4, 9.49, history.OK), ""},
		"a failure of a standby":         {answer("b", 5, 5.1, history.Fail), ""},
		"a pod never seen":               {answer("c", 9.2, 9.3, history.OK), ""},
		"a standby":                      {answer("b", 5, 5.1, history.OK), "pod b answered a read of k1 with success at 12:00:05.100 and said of itself [standby], a active"},
		"a standby again":                {answer("a", 30, 30.1, history.OK), "pod a answered"},
		"out of reach, another active":   {answer("a", 12, 12.1, history.OK), "pod a answered a read of k1 with success at 12:00:12.100 and said of itself [unreachable], b active"},
		"a pod never seen, other active": {answer("c", 12, 12.1, history.OK), "pod c answered"},
	} {
		err := onlyActiveAnswered(takeover(), []history.Op{c.op})
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

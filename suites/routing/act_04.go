package routing

import (
	"cmp"
	"errors"
	"fmt"
	"maps"
	"math"
	"slices"
	"time"

	"github.com/onsi/ginkgo/v2"

	"github.com/vaultproof/vaultproof/pkg/conformance"
	"github.com/vaultproof/vaultproof/pkg/history"
	"github.com/vaultproof/vaultproof/pkg/report"
	"github.com/vaultproof/vaultproof/pkg/timeline"
	"github.com/vaultproof/vaultproof/suites/trial"
)

// blur is how far what a pod says of itself may lag behind what it is: the
// sampling interval and the longest that a sample may take.
const blur = 500 * time.Millisecond

var act04 = conformance.Check{
	ID: "ACT-04", Area: area, Level: conformance.Must,
	Assertion: "during every failover of the run no pod that is not active answers with success, and clients suffer no longer than the fault's budget",
	Source:    "hashicorp/vault#21473, hashicorp/vault#8522",
	Observe:   "X-Vault-Hostname of every answer to the load beside sys/leader of each pod at that time",
	Last:      true,
}

// A standby that passes a request on answers with the active pod's headers, its
// X-Vault-Hostname among them. So the name in an answer is that of the pod which
// carried the request out, and forwarding does not look like a stale answer.
var _ = conformance.It(act04, conformance.Chaos, func(ctx ginkgo.SpecContext, r *conformance.Case) error {
	if err := r.Traffic.Caught(ctx); err != nil {
		return r.CannotTell(err)
	}
	var faults []report.Fault
	r.AmendFaults(func(f *report.Fault) { faults = append(faults, *f) })
	failovers := failoversIn(r.Log.Events())
	ops := r.Traffic.Ops()
	named := slices.DeleteFunc(slices.Clone(ops), func(op history.Op) bool { return op.Outcome != history.OK || op.Pod == "" })
	r.Measure("failovers_total", float64(failovers))
	r.Measure("answers_total", float64(len(named)))
	if failovers == 0 {
		return r.Inconclusive("no pod took over from another in this run: run it together with checks that inject faults, such as RES-*")
	}
	if len(named) == 0 {
		return r.Inconclusive("no answer names the pod that gave it: set enable_response_header_hostname in Vault's configuration")
	}
	if err := onlyActiveAnswered(r.Log.Events(), named); err != nil {
		return err
	}
	return budgetsKept(faults)
})

// failoversIn counts how often another pod became active than the one before.
func failoversIn(events []timeline.Event) (n int) {
	active := ""
	for _, e := range events {
		if e.Kind != timeline.Leader || e.Value != "active" || e.Subject == active {
			continue
		}
		if active != "" {
			n++
		}
		active = e.Subject
	}
	return n
}

// onlyActiveAnswered judges the pods that answered with success by what they
// said of themselves around that time. A pod that was out of reach is judged by
// another one that was active all the while.
func onlyActiveAnswered(events []timeline.Event, ops []history.Op) error {
	says := map[string][]timeline.Event{}
	for _, e := range events {
		if e.Kind == timeline.Leader {
			says[e.Subject] = append(says[e.Subject], e)
		}
	}
	var wrong []string
	for _, op := range ops {
		if op.Outcome != history.OK || op.Pod == "" {
			continue
		}
		from, to := time.Unix(0, op.Call).Add(-blur), time.Unix(0, op.Return).Add(blur)
		own := around(says[op.Pod], from, to)
		other := ""
		for pod, theirs := range says {
			if pod != op.Pod && slices.Equal(around(theirs, from, to), []string{"active"}) {
				other = pod
			}
		}
		unknown := slices.Contains(own, "unreachable") || slices.Contains(own, "")
		if slices.Contains(own, "active") || unknown && other == "" {
			continue
		}
		wrong = append(wrong, fmt.Sprintf("%s answered a %s of %s with success at %s and said of itself %v, %s active",
			op.Pod, op.Kind, op.Key, trial.Clock(time.Unix(0, op.Return)), own, cmp.Or(other, "nobody")))
	}
	if len(wrong) == 0 {
		return nil
	}
	return fmt.Errorf("%d answers came from a pod that was not active; the first: pod %s (hashicorp/vault#21473)", len(wrong), wrong[0])
}

// around is what a pod said between from and to, the state that it came with
// included; empty text if nothing was known of it.
func around(says []timeline.Event, from, to time.Time) []string {
	// A run has many answers, and a pod may say much: no walk from the start.
	next, _ := slices.BinarySearchFunc(says, from, func(e timeline.Event, at time.Time) int {
		if e.At.After(at) {
			return 1
		}
		return -1
	})
	values := []string{""}
	if next > 0 {
		values[0] = says[next-1].Value
	}
	for _, e := range says[next:] {
		if e.At.After(to) {
			break
		}
		values = append(values, e.Value)
	}
	return values
}

// budgetsKept judges the faults that have a budget for their outage, those of
// one check together: the 95th percentile counts, of fewer than twenty the
// longest.
func budgetsKept(faults []report.Fault) error {
	byCheck := map[string][]report.Fault{}
	for _, f := range faults {
		if f.BudgetMS > 0 {
			byCheck[f.Check] = append(byCheck[f.Check], f)
		}
	}
	var errs []error
	for _, check := range slices.Sorted(maps.Keys(byCheck)) {
		sorted := slices.SortedFunc(slices.Values(byCheck[check]), func(a, b report.Fault) int { return cmp.Compare(a.OutageMS, b.OutageMS) })
		worst := sorted[int(math.Ceil(0.95*float64(len(sorted))))-1]
		if worst.OutageMS > worst.BudgetMS {
			errs = append(errs, fmt.Errorf("clients suffered %.0f ms after %s (%s of %s), budget %.0f ms", worst.OutageMS, worst.ID, worst.Kind, worst.Target, worst.BudgetMS))
		}
	}
	return errors.Join(errs...)
}

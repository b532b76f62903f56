package routing

import (
	"cmp"
	"errors"
	"fmt"
	"maps"
	"math"
	"slices"
	"strings"
	"time"

	"github.com/onsi/ginkgo/v2"

	"github.com/vaultproof/vaultproof/pkg/conformance"
	"github.com/vaultproof/vaultproof/pkg/probe"
	"github.com/vaultproof/vaultproof/pkg/report"
	"github.com/vaultproof/vaultproof/pkg/timeline"
	"github.com/vaultproof/vaultproof/suites/trial"
)

var act04 = conformance.Check{
	ID: "ACT-04", Area: area, Level: conformance.Must,
	Assertion: "during every failover of the run no pod that is not active answers with success, and clients suffer no longer than the fault's budget",
	Source:    "hashicorp/vault#21473, hashicorp/vault#8522",
	Observe: "sys/leader of every pod each 10 ms, labels, EndpointSlices and X-Vault-Hostname of every answer to the load, joined on one clock: " +
		"who answered beside who was active then, and how long no pod was, or two were",
	Last: true,
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
	events := r.Log.Events()
	failovers := failoversIn(events)
	r.Measure("failovers_total", float64(failovers))
	if failovers == 0 {
		return r.Inconclusive("no pod took over from another in this run: run it together with checks that inject faults, such as RES-*")
	}
	from, to := loadIn(events)
	seen := probe.Route(events, r.Target.ActiveService, from, to)
	r.Measure("answers_total", float64(seen.Answers))
	for name, value := range seen.Measurements() {
		r.Measure(name, value)
	}
	if seen.Answers == 0 {
		return r.Inconclusive("no answer names the pod that gave it: set enable_response_header_hostname in Vault's configuration")
	}
	if err := onlyActiveAnswered(seen.Strays); err != nil {
		return err
	}
	return budgetsKept(faults)
})

// loadIn is from when to when there was load, and pods were asked what they are.
func loadIn(events []timeline.Event) (from, to time.Time) {
	for _, e := range events {
		if e.Kind != timeline.Operation {
			continue
		}
		if from.IsZero() {
			from = e.At
		}
		to = e.At.Add(time.Nanosecond)
	}
	return from, to
}

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

// onlyActiveAnswered judges the answers of pods that were not active by their own word.
func onlyActiveAnswered(strays []probe.Answer) error {
	if len(strays) == 0 {
		return nil
	}
	first := strays[0]
	said := "had never been asked what it is"
	if len(first.Said) > 0 {
		said = "said of itself " + strings.Join(first.Said, ", then ")
	}
	return fmt.Errorf("%d answers came from a pod that was not active; the first: pod %s answered a %s with success at %s, and from %s on it %s, while %s active; want answers from the active pod alone (hashicorp/vault#21473)",
		len(strays), first.Pod, first.Operation, trial.Clock(first.At), trial.Clock(first.Due), said, are(first.Active))
}

// are puts pods before a word.
func are(pods []string) string {
	switch len(pods) {
	case 0:
		return "no pod was"
	case 1:
		return pods[0] + " was"
	default:
		return strings.Join(pods, " and ") + " were"
	}
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

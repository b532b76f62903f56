package routing

import (
	"errors"
	"fmt"
	"math"
	"time"

	"github.com/onsi/ginkgo/v2"

	"github.com/vaultproof/vaultproof/pkg/conformance"
	"github.com/vaultproof/vaultproof/pkg/fault"
	"github.com/vaultproof/vaultproof/pkg/timeline"
	"github.com/vaultproof/vaultproof/suites/trial"
)

var act11 = conformance.Check{
	ID: "ACT-11", Area: area, Level: conformance.Must,
	Assertion: "no pod is labelled vault-active=true longer than the budget before it can serve, and no operation fails on it meanwhile",
	Source:    "hashicorp/vault vault/ha.go: advertiseLeader comes before postUnseal",
	Observe:   "every change of the label to true in the run, beside the pod's sys/leader and the first answer that bears its name",
	Last:      true,
}

var _ = conformance.It(act11, conformance.Chaos, func(ctx ginkgo.SpecContext, r *conformance.Case) error {
	if r.Budget <= 0 {
		return errors.New("no budget is set for the early label")
	}
	if err := r.Traffic.Caught(ctx); err != nil {
		return r.CannotTell(err)
	}
	events := r.Log.Events()
	published := publications(events)
	r.Measure("labels_published_total", float64(len(published)))
	if len(published) < 2 { // the first is how the run found it
		return r.Inconclusive("no pod was newly labelled active in this run: run it together with checks that inject faults, such as RES-*")
	}
	worst := time.Duration(0)
	var errs []error
	for _, p := range published {
		if !p.serves.IsZero() {
			worst = max(worst, p.serves.Sub(p.at))
		}
		errs = append(errs, p.early(r.Budget))
	}
	r.Measure("label_before_service_ms", math.Round(float64(worst.Milliseconds())))
	return errors.Join(errs...)
})

// publication is one time that a pod was labelled active.
type publication struct {
	pod     string
	at, end time.Time // the label was true
	serves  time.Time // the pod could serve; never before at, zero if it could not until end
	failed  []timeline.Event
}

// publications finds them all, those that a check made by hand left out.
func publications(events []timeline.Event) []publication {
	if len(events) == 0 {
		return nil
	}
	begin, end := events[0].At, events[len(events)-1].At.Add(time.Nanosecond)
	pods := map[string]bool{}
	var found []publication
	for _, e := range events {
		if e.Kind != timeline.Label || pods[e.Subject] {
			continue
		}
		pods[e.Subject] = true
		byHand := tamperings(events, e.Subject, end)
		for _, s := range labelled(events, e.Subject, begin, end) {
			if within(byHand, s.from) {
				continue
			}
			p := publication{pod: e.Subject, at: s.from, end: s.to}
			p.watch(events)
			found = append(found, p)
		}
	}
	return found
}

// watch finds when the pod could serve, and what failed on it until then.
func (p *publication) watch(events []timeline.Event) {
	isActive := func(v string) bool { return v == "active" }
	if active := held(events, timeline.Leader, p.pod, isActive, p.at, p.end); len(active) > 0 {
		p.serves = active[0].from
	}
	answers := func(e timeline.Event) time.Time {
		return e.At.Add(time.Duration(e.LatencyMS * float64(time.Millisecond)))
	}
	for _, e := range events {
		if e.Kind != timeline.Operation || e.Value != p.pod || !e.OK || answers(e).Before(p.at) || !answers(e).Before(p.end) {
			continue
		}
		if p.serves.IsZero() || answers(e).Before(p.serves) {
			p.serves = answers(e)
		}
	}
	until := p.serves
	if until.IsZero() {
		until = p.end
	}
	for _, e := range events {
		if e.Kind == timeline.Operation && e.Value == p.pod && !e.OK && !e.At.Before(p.at) && answers(e).Before(until) {
			p.failed = append(p.failed, e)
		}
	}
}

// early judges one publication.
func (p publication) early(budget time.Duration) error {
	switch {
	case p.serves.IsZero() && p.end.Sub(p.at) > budget:
		return fmt.Errorf("pod %s was labelled active from %s to %s and could not serve in all that time; want it to within %s", p.pod, trial.Clock(p.at), trial.Clock(p.end), budget)
	case len(p.failed) > 0:
		return fmt.Errorf("%d operations failed on pod %s, which was labelled active at %s and could not serve yet; the first at %s with: %s",
			len(p.failed), p.pod, trial.Clock(p.at), trial.Clock(p.failed[0].At), p.failed[0].Detail)
	case p.serves.Sub(p.at) > budget:
		return fmt.Errorf("pod %s was labelled active at %s and could serve %s later; want within %s", p.pod, trial.Clock(p.at), trial.Round(p.serves.Sub(p.at)), budget)
	}
	return nil
}

// tamperings are the times in which a check set the labels of a pod by hand.
func tamperings(events []timeline.Event, pod string, end time.Time) []span {
	what := (&fault.LabelTamper{}).Kind() + " of " + pod
	var spans []span
	open := map[string]time.Time{} // by fault
	for _, e := range events {
		if e.Kind != timeline.Fault || e.Detail != what {
			continue
		}
		since, isOpen := open[e.Subject]
		switch {
		case e.Value == "recovered" && isOpen:
			spans = append(spans, span{since, e.At})
			delete(open, e.Subject)
		case !isOpen && e.Value != "recovered":
			open[e.Subject] = e.At
		}
	}
	for _, since := range open {
		spans = append(spans, span{since, end})
	}
	return spans
}

func within(spans []span, at time.Time) bool {
	for _, s := range spans {
		if !at.Before(s.from) && at.Before(s.to) {
			return true
		}
	}
	return false
}

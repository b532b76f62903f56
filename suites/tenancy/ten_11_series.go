package tenancy

import (
	"fmt"
	"time"

	"github.com/vaultproof/vaultproof/pkg/conformance"
	"github.com/vaultproof/vaultproof/pkg/probe"
	"github.com/vaultproof/vaultproof/pkg/timeline"
	"github.com/vaultproof/vaultproof/suites/trial"
)

// waits is how long tenants wait for an answer: what was due so long before a fault may have
// failed because of it.
const waits = 2 * time.Second

// series is what tenants saw of one kind of operation.
type series struct {
	name string // in the report
	what string // for messages
	rate float64
	// spared is set where Vault is not asked: a fault of Vault must not be noticed at all.
	spared bool
	events []timeline.Event
}

// began is from when on a trial's operations are looked at.
func began(res trial.Result) time.Time { return res.At.Add(-trial.Calm) }

// outage is the longest in a trial.
func (s series) outage(res trial.Result) probe.Window {
	return probe.Outage(s.events, began(res), res.End)
}

// enough tells whether the operations can tell of the fault: nearly all that were to be are
// there, and none had failed before it.
func (s series) enough(res trial.Result) error {
	length := res.End.Sub(began(res))
	got := probe.Measure(s.events, began(res), res.End)
	if want := int(s.rate * length.Seconds() * 9 / 10); got.Total < want {
		return fmt.Errorf("%d operations in the %s around the fault, want at least %d", got.Total, trial.Round(length), want)
	}
	for _, e := range timeline.Between(s.events, began(res), res.At) {
		ended := e.At.Add(time.Duration(e.LatencyMS * float64(time.Millisecond)))
		if !e.OK && ended.Before(res.At) {
			return fmt.Errorf("one that was due at %s failed before the fault: %s", trial.Clock(e.At), e.Detail)
		}
	}
	return nil
}

// judge judges the outages of a trial: each begins at one of the moments in which the fault
// can make clients suffer, and all that do are over within the budget.
func (s series) judge(r *conformance.Case, res trial.Result, moments []time.Time) error {
	if s.spared {
		return s.untouched(res)
	}
	windows := probe.Outages(s.events, began(res), res.End)
	for _, moment := range moments {
		var rest []probe.Window
		one := res
		one.Outage = probe.Window{}
		for _, w := range windows {
			if w.Start.Before(moment.Add(-waits)) || w.Start.After(moment.Add(r.Budget)) {
				rest = append(rest, w)
				continue
			}
			one.Outage = joined(one.Outage, w)
		}
		if err := trial.HeldToBudget(r, []trial.Result{one}, r.Budget); err != nil {
			return err
		}
		windows = rest
	}
	if len(windows) == 0 {
		return nil
	}
	return fmt.Errorf("operations failed from %s to %s (%d, the first with: %s), and %s of %s hit at %s and was over at %s: want failures within %s of that alone",
		trial.Clock(windows[0].Start), trial.Clock(windows[0].End), windows[0].Failed, windows[0].FirstError,
		res.Kind, res.Target, trial.Clock(res.At), trial.Clock(res.Undone), r.Budget)
}

// joined is one outage of two, the first of which may be none: what is good in between is too
// short a time to call it over.
func joined(a, b probe.Window) probe.Window {
	if a.Start.IsZero() {
		return b
	}
	a.End, a.Open = b.End, b.Open
	a.Failed, a.Succeeded = a.Failed+b.Failed, a.Succeeded+b.Succeeded
	return a
}

// untouched judges operations that have nothing to do with Vault's state.
func (s series) untouched(res trial.Result) error {
	for _, e := range timeline.Between(s.events, began(res), res.End) {
		if !e.OK {
			return fmt.Errorf("one that was due at %s failed, %s after %s of %s: %s; want none to fail, because credentials outlive any outage of Vault",
				trial.Clock(e.At), trial.Round(e.At.Sub(res.At)), res.Kind, res.Target, e.Detail)
		}
	}
	return nil
}

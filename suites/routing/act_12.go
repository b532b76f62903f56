package routing

import (
	"errors"
	"fmt"
	"math"
	"time"

	"github.com/onsi/ginkgo/v2"

	"github.com/vaultproof/vaultproof/pkg/conformance"
	"github.com/vaultproof/vaultproof/pkg/fault"
	"github.com/vaultproof/vaultproof/pkg/history"
	"github.com/vaultproof/vaultproof/pkg/report"
	"github.com/vaultproof/vaultproof/suites/trial"
)

// hang is how long an operation that was sent waits at least before it shows
// that its connection leads nowhere.
const hang = time.Second

// The load keeps its connections alive. A node that loses its power resets none
// of them, so clients find out only by their own timeout: that is the moment
// when they must be led elsewhere.
var act12 = conformance.Check{
	ID: "ACT-12", Area: area, Level: conformance.Should,
	Assertion: "clients whose kept-alive connection leads to a dead node are served by the new active pod within their timeout of its being routed to",
	Source:    "kubernetes/kubernetes#104098",
	Observe:   "after each power-off of the run: operations sent on a connection and never answered, and the last failure after the Service had the new active pod alone",
	Last:      true,
}

var _ = conformance.It(act12, conformance.Chaos, func(ctx ginkgo.SpecContext, r *conformance.Case) error {
	if r.Budget <= 0 {
		return errors.New("no budget is set for kept-alive connections")
	}
	if err := r.Traffic.Caught(ctx); err != nil {
		return r.CannotTell(err)
	}
	ops := r.Traffic.Ops()
	var dead []silence
	r.AmendFaults(func(f *report.Fault) {
		if s, ok := silenceOf(*f, ops); ok {
			dead = append(dead, s)
		}
	})
	if len(dead) == 0 {
		return r.Skip("no node was turned off in this run with clients connected to it; every other fault resets connections, so that clients notice at once")
	}
	worst := time.Duration(0)
	var errs []error
	for _, s := range dead {
		worst = max(worst, s.length())
		errs = append(errs, s.short(r.Budget))
	}
	r.Measure("stale_connections_ms", math.Round(float64(worst.Milliseconds())))
	return errors.Join(errs...)
})

// silence is what a power-off did to clients with connections to the node.
type silence struct {
	fault  string
	hung   int       // operations sent on a connection and never answered
	routed time.Time // the Service had the new active pod alone
	last   time.Time // the last operation failed
	error  string    // of that operation
}

// silenceOf sums up one fault; ok is false if it is none of this kind, or hung
// no operation.
func silenceOf(f report.Fault, ops []history.Op) (s silence, ok bool) {
	if f.Kind != (&fault.PowerOff{}).Kind() || f.Phases.Routed == nil || f.RecoveredAt.IsZero() {
		return s, false
	}
	s = silence{fault: f.ID, routed: f.InjectedAt.Add(time.Duration(*f.Phases.Routed * float64(time.Millisecond)))}
	for _, op := range ops {
		called, ended := time.Unix(0, op.Call), time.Unix(0, op.Return)
		if op.Outcome == history.OK || ended.Before(f.InjectedAt) || called.After(f.RecoveredAt) {
			continue
		}
		// A write whose fate is unknown and that nobody answered had got a
		// connection.
		if op.Outcome == history.Unknown && op.Pod == "" && ended.Sub(called) >= hang {
			s.hung++
		}
		if ended.After(s.last) {
			s.last, s.error = ended, op.Error
		}
	}
	return s, s.hung > 0
}

// length is how long clients went on failing although they could be served.
func (s silence) length() time.Duration { return max(0, s.last.Sub(s.routed)) }

// short judges it.
func (s silence) short(budget time.Duration) error {
	if s.length() <= budget {
		return nil
	}
	return fmt.Errorf("after %s, which left %d operations hanging on their connections, one still failed at %s (%s), %s after the Service had the new active pod alone; want none after %s (kubernetes/kubernetes#104098)",
		s.fault, s.hung, trial.Clock(s.last), s.error, trial.Round(s.length()), budget)
}

package probe

import (
	"errors"
	"fmt"
	"time"

	"github.com/vaultproof/vaultproof/pkg/timeline"
)

// Span is what a fault is judged by: the time before it, while it lasts, and
// after it. Start < Fault < Recovered < End.
type Span struct {
	Start, Fault, Recovered, End time.Time
}

const (
	// trafficFloor is the part of the scheduled operations that must be there.
	trafficFloor = 0.9
	// healthFloor is the part of the operations before the fault that must
	// have succeeded: what was broken before cannot be blamed on the fault.
	healthFloor = 0.99
	// minOperations is how many operations each part must hold, whatever the
	// rate: fewer prove nothing.
	minOperations = 20
)

// ErrTraffic marks a span with too little traffic to judge a fault by. The
// judgement then is inconclusive.
var ErrTraffic = errors.New("too little traffic")

// CheckTraffic tells whether the operations of a span, scheduled at rate a
// second, suffice to judge a fault: enough of them before, during and after
// it, and nearly all before it good. The error wraps ErrTraffic and says which
// part has too little of what.
func CheckTraffic(events []timeline.Event, span Span, rate float64) error {
	if rate <= 0 {
		return fmt.Errorf("%w: a rate of %g operations a second is none", ErrTraffic, rate)
	}
	var problems []error
	for _, part := range []struct {
		name     string
		from, to time.Time
	}{
		{"before the fault", span.Start, span.Fault},
		{"during the fault", span.Fault, span.Recovered},
		{"after the fault", span.Recovered, span.End},
	} {
		if !part.from.Before(part.to) {
			problems = append(problems, fmt.Errorf("%w: the time %s is empty", ErrTraffic, part.name))
			continue
		}
		length := part.to.Sub(part.from)
		got := Measure(events, part.from, part.to)
		want := max(minOperations, int(rate*length.Seconds()*trafficFloor))
		if got.Total < want {
			problems = append(problems, fmt.Errorf("%w: %d operations in the %s %s, want at least %d",
				ErrTraffic, got.Total, length.Round(time.Millisecond), part.name, want))
			continue
		}
		if ratio := healthBy(events, part.from, part.to); part.from.Equal(span.Start) && ratio < healthFloor {
			problems = append(problems, fmt.Errorf("%w: only %.1f %% of the operations before the fault succeeded, want at least %.0f %%",
				ErrTraffic, 100*ratio, 100*healthFloor))
		}
	}
	return errors.Join(problems...)
}

// healthBy is the part of the operations due from an instant on that succeeded, of those that
// had ended by the other: what was under way when a fault hit may have failed because of it.
func healthBy(events []timeline.Event, from, by time.Time) float64 {
	ended, good := 0, 0
	for _, op := range operationsIn(events, from, by) {
		if op.end.After(by) {
			continue
		}
		ended++
		if op.event.OK {
			good++
		}
	}
	if ended == 0 {
		return 0
	}
	return float64(good) / float64(ended)
}

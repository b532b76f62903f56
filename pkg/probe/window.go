package probe

import (
	"cmp"
	"fmt"
	"math"
	"slices"
	"time"

	"github.com/vaultproof/vaultproof/pkg/timeline"
)

const (
	// Patience is how long a client may wait for a success and still call the
	// service available. A stall in which every operation succeeds after 1.9 s
	// is an outage of its users.
	Patience = time.Second
	// Calm is how long no operation may fail before an outage counts as over.
	// A success in the midst of failures does not end it.
	Calm = time.Second
)

// Window is an outage: from when the first failed operation was due to when
// the first good one was answered.
type Window struct {
	Start, End time.Time
	// Open is set if the outage had not ended when the span did; End then is
	// the end of the span, and the outage is at least that long.
	Open bool
	// Failed counts the operations due within that failed or took longer than
	// Patience, Succeeded the others.
	Failed, Succeeded int
	// FirstError is the error of the first failed operation.
	FirstError string
}

// Length is how long the outage lasted.
func (w Window) Length() time.Duration { return w.End.Sub(w.Start) }

// MS is the length in milliseconds, 0 for no outage.
func (w Window) MS() float64 { return float64(w.Length()) / float64(time.Millisecond) }

// operation is an operation event, digested.
type operation struct {
	due, end time.Time
	good     bool
	event    timeline.Event
}

// operationsIn picks the operations due at or after from and before to, by
// when they were due.
func operationsIn(events []timeline.Event, from, to time.Time) []operation {
	var ops []operation
	for _, e := range events {
		if e.Kind != timeline.Operation || e.At.Before(from) || !e.At.Before(to) {
			continue
		}
		latency := time.Duration(e.LatencyMS * float64(time.Millisecond))
		ops = append(ops, operation{due: e.At, end: e.At.Add(latency), good: e.OK && latency < Patience, event: e})
	}
	slices.SortStableFunc(ops, func(a, b operation) int { return a.due.Compare(b.due) })
	return ops
}

// Outages finds the outages among the operations due in a span.
//
// An operation is good if it succeeded within Patience of when it was due. An
// outage starts when the first operation that is not good was due. It ends at
// the first answer to a good operation, due since the start, after which no
// operation that is not good was due for Calm. So it covers all failures that
// are less than Calm apart, and successes among them do not shorten it; and a
// success counts from its answer, because an operation that was stuck until
// the service came back does not show that it was there before.
func Outages(events []timeline.Event, from, to time.Time) []Window {
	ops := operationsIn(events, from, to)
	var bad []time.Time
	for _, op := range ops {
		if !op.good {
			bad = append(bad, op.due)
		}
	}
	var windows []Window
	for i := 0; i < len(bad); {
		w := Window{Start: bad[i], End: to, Open: true}
		if end, ok := recovery(ops, bad, bad[i]); ok && !end.After(to) {
			w.End, w.Open = end, false
		}
		for _, op := range ops {
			switch {
			case op.due.Before(w.Start) || op.due.After(w.End):
			case op.good:
				w.Succeeded++
			default:
				if w.Failed == 0 {
					w.FirstError = describe(op)
				}
				w.Failed++
			}
		}
		windows = append(windows, w)
		if w.Open {
			break
		}
		for i < len(bad) && !bad[i].After(w.End) {
			i++
		}
	}
	return windows
}

// recovery is the first answer to a good operation due since start after which
// none of bad was due for Calm.
func recovery(ops []operation, bad []time.Time, start time.Time) (time.Time, bool) {
	var answers []time.Time
	for _, op := range ops {
		if op.good && !op.due.Before(start) {
			answers = append(answers, op.end)
		}
	}
	slices.SortFunc(answers, time.Time.Compare)
	for _, at := range answers {
		next, _ := slices.BinarySearchFunc(bad, at, time.Time.Compare)
		if next == len(bad) || bad[next].Sub(at) >= Calm {
			return at, true
		}
	}
	return time.Time{}, false
}

func describe(op operation) string {
	if op.event.OK {
		return fmt.Sprintf("%s took %.0f ms", op.event.Subject, op.event.LatencyMS)
	}
	return op.event.Subject + ": " + op.event.Detail
}

// Outage is the longest of the Outages in a span, and the earlier of equals;
// the zero Window if there was none.
func Outage(events []timeline.Event, from, to time.Time) Window {
	var longest Window
	for _, w := range Outages(events, from, to) {
		if w.Length() > longest.Length() {
			longest = w
		}
	}
	return longest
}

// Only picks the operations called subject (read, write), for outages of that
// kind alone.
func Only(events []timeline.Event, subject string) []timeline.Event {
	var picked []timeline.Event
	for _, e := range events {
		if e.Kind == timeline.Operation && e.Subject == subject {
			picked = append(picked, e)
		}
	}
	return picked
}

// Availability sums up the operations due in a span.
type Availability struct {
	Total, OK int
	// Ratio is OK out of Total, 0 to 1; 0 when there was no operation.
	Ratio float64
	// P50, P99 and Max are latencies of the operations that succeeded, from
	// when each was due; 0 when none did.
	P50, P99, Max time.Duration
	// Answers counts successes by the pod that answered; "" for no name.
	Answers map[string]int
	// Errors counts failures by their text.
	Errors map[string]int
}

// Measure sums up the operations due at or after from and before to.
func Measure(events []timeline.Event, from, to time.Time) Availability {
	a := Availability{Answers: map[string]int{}, Errors: map[string]int{}}
	var latencies []time.Duration
	for _, op := range operationsIn(events, from, to) {
		a.Total++
		if !op.event.OK {
			a.Errors[op.event.Detail]++
			continue
		}
		a.OK++
		a.Answers[op.event.Value]++
		latencies = append(latencies, op.end.Sub(op.due))
	}
	if a.Total > 0 {
		a.Ratio = float64(a.OK) / float64(a.Total)
	}
	if len(latencies) > 0 {
		slices.SortFunc(latencies, cmp.Compare[time.Duration])
		a.P50, a.P99, a.Max = rank(latencies, 0.50), rank(latencies, 0.99), latencies[len(latencies)-1]
	}
	return a
}

// rank is the smallest value that at least the part q of sorted is not above.
func rank(sorted []time.Duration, q float64) time.Duration {
	return sorted[max(0, int(math.Ceil(q*float64(len(sorted))))-1)]
}

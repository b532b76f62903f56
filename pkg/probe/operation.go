package probe

import (
	"time"

	"github.com/vaultproof/vaultproof/pkg/history"
	"github.com/vaultproof/vaultproof/pkg/probe/internal/load"
	"github.com/vaultproof/vaultproof/pkg/probe/internal/wire"
	"github.com/vaultproof/vaultproof/pkg/timeline"
)

// RouteService is the way that leads through the Service of the active pod.
const RouteService = "service"

// Operation is one operation of the load, whatever its kind and its way.
type Operation struct {
	history.Op
	// Due is when it was to start, whether or not it could.
	Due time.Time
	// Route is RouteService, or the name of a Way.
	Route string
	// Aux marks one outside the schedule, by which a client learns what became of
	// another.
	Aux bool
}

// Latency is the time from when it was due until it ended. One that had to wait
// for its turn was late all that time.
func (o Operation) Latency() time.Duration { return time.Unix(0, o.Return).Sub(o.Due) }

// clocked tells whether the outages are computed from it: a register, through the
// Service, on schedule.
func (o Operation) clocked() bool { return !o.Aux && o.registers() }

// registers tells whether it is one of those that Ops returns.
func (o Operation) registers() bool {
	return o.Route == RouteService && (o.Kind == history.Read || o.Kind == history.Write)
}

// event is how an operation stands in the timeline.
func (o Operation) event() timeline.Event {
	return timeline.Event{
		At: o.Due, Kind: timeline.Operation, Subject: string(o.Kind), Value: o.Pod, OK: o.Outcome == history.OK,
		LatencyMS: float64(o.Latency()) / float64(time.Millisecond), Detail: o.Error,
	}
}

// LoginKind is the kind of the operations of a Login.
const LoginKind = load.LoginKind

// Events are the operations of one kind that were on schedule, whatever their way, as they
// would stand in a timeline: Outages and Measure tell from them what that kind suffered.
func Events(ops []Operation, kind history.Kind) []timeline.Event {
	var events []timeline.Event
	for _, o := range ops {
		if o.Kind == kind && !o.Aux {
			events = append(events, o.event())
		}
	}
	return events
}

// operationOf translates a record. Every instant moves by shift.
func operationOf(r wire.Record, shift time.Duration) Operation {
	o := Operation{Op: r.Op, Due: time.Unix(0, r.Due).Add(shift), Route: r.Route, Aux: r.Aux}
	if o.Route == "" {
		o.Route = RouteService
	}
	o.Call, o.Return = o.Call+int64(shift), o.Return+int64(shift)
	if o.Expires != 0 {
		o.Expires += int64(shift)
	}
	return o
}

// dueIn picks the operations that were due at or after from and before to.
func dueIn(ops []Operation, from, to time.Time) []Operation {
	var picked []Operation
	for _, o := range ops {
		if !o.Due.Before(from) && o.Due.Before(to) {
			picked = append(picked, o)
		}
	}
	return picked
}

// registersOf picks what Ops returns.
func registersOf(ops []Operation) []history.Op {
	picked := make([]history.Op, 0, len(ops))
	for _, o := range ops {
		if o.registers() {
			picked = append(picked, o.Op)
		}
	}
	return picked
}

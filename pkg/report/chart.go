package report

import (
	"math"
	"slices"
	"time"

	"github.com/vaultproof/vaultproof/pkg/timeline"
)

// chart is what the page draws. Times are milliseconds after T0, so that the
// numbers stay short.
type chart struct {
	T0     int64       `json:"t0"`   // Unix time in ms
	Span   float64     `json:"span"` // ms
	Ops    *buckets    `json:"ops"`  // nil when no operation was recorded
	Lanes  []laneGroup `json:"lanes"`
	Faults []band      `json:"faults"`
	Pods   []string    `json:"pods"` // sorted; the index decides the colour
}

// band is the time during which a fault was in force, with its milestones.
type band struct {
	ID     string  `json:"id"`
	Kind   string  `json:"kind"`
	Target string  `json:"target"`
	From   float64 `json:"from"`
	To     float64 `json:"to"`
	// Marks are the phases in ms after T0.
	Marks []mark `json:"marks,omitempty"`
}

type mark struct {
	Name string  `json:"name"`
	At   float64 `json:"at"`
}

// margin is kept free at both ends of the axis.
const margin = time.Second

// chartOf boils the events down to what the page draws; nil when there is
// nothing to draw. events need not be sorted.
func chartOf(r *Report, events []timeline.Event) *chart {
	if !slices.IsSortedFunc(events, func(a, b timeline.Event) int { return a.At.Compare(b.At) }) {
		events = slices.Clone(events)
		timeline.Sort(events)
	}
	// There may be a million operations, and few events of all other kinds.
	var changes []timeline.Event
	for i := range events {
		if events[i].Kind != timeline.Operation {
			changes = append(changes, events[i])
		}
	}
	from, to, any := extent(r, events)
	if !any {
		return nil
	}
	c := &chart{T0: from.UnixMilli()}
	at := func(t time.Time) float64 {
		return round(float64(t.UnixMicro())/1000 - float64(c.T0))
	}
	c.Span = at(to)
	c.Ops = bucketsOf(events, at, c.Span)
	c.Lanes = lanesOf(changes, answers(events, at), at, c.Span)
	c.Pods = podsOf(c.Lanes)
	c.Faults = bandsOf(r, changes, at, c.Span)
	return c
}

// extent is the time that the axis covers: all events but notes, and all
// faults, with a margin.
func extent(r *Report, events []timeline.Event) (from, to time.Time, any bool) {
	see := func(t time.Time) {
		if t.IsZero() {
			return
		}
		if !any || t.Before(from) {
			from = t
		}
		if !any || t.After(to) {
			to = t
		}
		any = true
	}
	for _, e := range events {
		if e.Kind != timeline.Note {
			see(e.At)
		}
	}
	for _, f := range r.Faults {
		see(f.InjectedAt)
		see(f.RecoveredAt)
	}
	return from.Add(-margin).Truncate(time.Millisecond), to.Add(margin), any
}

// bandsOf takes the faults from the report, and from the events those that a
// run which died had no time to report.
func bandsOf(r *Report, events []timeline.Event, at func(time.Time) float64, end float64) []band {
	bands := []band{}
	reported := map[string]bool{}
	for _, f := range inTime(r.Faults) {
		if f.InjectedAt.IsZero() {
			continue
		}
		reported[f.ID] = true
		b := band{ID: f.ID, Kind: f.Kind, Target: f.Target, From: at(f.InjectedAt), To: end}
		for _, p := range f.Phases.list() {
			if p.at != nil {
				b.Marks = append(b.Marks, mark{p.name, round(b.From + *p.at)})
			}
		}
		if !f.RecoveredAt.IsZero() {
			b.To = max(b.From, at(f.RecoveredAt))
		}
		bands = append(bands, b)
	}
	open := map[string]int{}
	for _, e := range events {
		if e.Kind != timeline.Fault || reported[e.Subject] {
			continue
		}
		i, known := open[e.Subject]
		if !known {
			i = len(bands)
			open[e.Subject] = i
			bands = append(bands, band{ID: e.Subject, Kind: e.Detail, From: at(e.At), To: end})
		}
		if e.Value == "recovered" {
			bands[i].To = at(e.At)
		}
	}
	return bands
}

// round keeps a tenth, which is plenty on a screen and short in a file.
func round(v float64) float64 {
	return math.Round(v*10) / 10
}

package probe

import (
	"maps"
	"math"
	"slices"
	"strings"
	"time"

	"github.com/vaultproof/vaultproof/pkg/timeline"
)

// Blur is how much later than it happened a change of who is active may be known:
// more is a gap, and told as such.
const Blur = 50 * time.Millisecond

// Routing sums up a span by who was active at each instant, and where clients were
// led. All pods, labels, endpoints and answers are on one clock.
type Routing struct {
	// Zero, One and Two are how long no pod, one pod, and two pods or more said of
	// themselves that they are active. A pod that does not answer is not active.
	Zero, One, Two time.Duration
	// Unknown is how long that cannot be told: a pod was not asked in time, and the
	// others do not settle the matter. The four make up the span.
	Unknown time.Duration
	// Astray is how long exactly one pod was active, and the Service had another
	// ready endpoint than that pod, or none. Mislabelled is the same of the label.
	Astray, Mislabelled time.Duration
	// Strays are the good answers by pods that were not active.
	Strays []Answer
	// Answers is how many good answers told who gave them.
	Answers int
}

// Measurements are the numbers for a report, the unit at the end of each name.
func (r Routing) Measurements() map[string]float64 {
	ms := func(d time.Duration) float64 { return math.Round(float64(d) / float64(time.Millisecond)) }
	return map[string]float64{
		"zero_active_ms": ms(r.Zero), "one_active_ms": ms(r.One), "two_active_ms": ms(r.Two), "unknown_active_ms": ms(r.Unknown),
		"astray_ms": ms(r.Astray), "mislabelled_ms": ms(r.Mislabelled), "stray_answers_total": float64(len(r.Strays)),
	}
}

// Answer is a good answer that a client got from a pod that was not active when it
// gave it, nor within Blur of that.
type Answer struct {
	Pod       string
	Operation string    // read or write
	Due, At   time.Time // it was due, it came
	// Said is what the pod said of itself meanwhile: standby, sealed or unreachable;
	// empty if it was never asked.
	Said []string
	// Active are the pods that were active meanwhile.
	Active []string
}

// Route joins what pods say of themselves (sys/leader), their labels, the endpoints
// of the Service and the answers that clients got, from one instant until another.
// events must reach back to before it, since a state holds from its last change.
func Route(events []timeline.Event, service string, from, to time.Time) Routing {
	events = slices.Clone(events)
	timeline.Sort(events)
	moments := momentsIn(events, service, from, to)
	var r Routing
	for _, m := range moments {
		length := m.to.Sub(m.from)
		active := m.active()
		switch unknown := m.unknown(); {
		case len(active) >= 2:
			r.Two += length
		case unknown:
			r.Unknown += length
		case len(active) == 1:
			r.One += length
			if !slices.Equal(m.endpoints, active) {
				r.Astray += length
			}
			if !slices.Equal(m.labelled, active) {
				r.Mislabelled += length
			}
		default:
			r.Zero += length
		}
	}
	r.strays(events, from, to)
	return r
}

// moment is a time in which nothing changed, [from, to).
type moment struct {
	from, to  time.Time
	says      map[string]string // by pod
	blind     map[string]bool   // pods of which it is not known what they would say
	endpoints []string          // of the Service, sorted
	labelled  []string          // pods with vault-active=true, sorted
}

// active are the pods known to be active.
func (m moment) active() []string {
	var pods []string
	for _, pod := range slices.Sorted(maps.Keys(m.says)) {
		if m.says[pod] == "active" && !m.blind[pod] {
			pods = append(pods, pod)
		}
	}
	return pods
}

// unknown tells whether a pod may have been active of which it is not known.
func (m moment) unknown() bool { return len(m.says) == 0 || len(m.blind) > 0 }

// momentsIn cuts a span where something changes.
func momentsIn(events []timeline.Event, service string, from, to time.Time) []moment {
	gaps := gapsIn(events)
	cuts := []time.Time{from}
	for _, e := range events {
		if e.At.After(from) && e.At.Before(to) && e.Kind != timeline.Operation {
			cuts = append(cuts, e.At)
		}
	}
	for _, g := range gaps {
		if g.to.After(from) && g.to.Before(to) {
			cuts = append(cuts, g.to)
		}
	}
	cuts = append(cuts, to)
	slices.SortFunc(cuts, time.Time.Compare)
	var moments []moment
	now := moment{says: map[string]string{}}
	labels := map[string]bool{}
	next, open := 0, 0 // the first event, and the first gap, not looked at
	var blind []gap
	for i, at := range cuts[:len(cuts)-1] {
		if !at.Before(cuts[i+1]) {
			continue // two changes at once
		}
		for ; next < len(events) && !events[next].At.After(at); next++ {
			now.take(events[next], service, labels)
		}
		for ; open < len(gaps) && !gaps[open].from.After(at); open++ {
			blind = append(blind, gaps[open])
		}
		blind = slices.DeleteFunc(blind, func(g gap) bool { return !g.to.After(at) })
		m := now
		m.from, m.to, m.says, m.blind = at, cuts[i+1], maps.Clone(now.says), map[string]bool{}
		for _, g := range blind {
			m.blind[g.pod] = true
		}
		moments = append(moments, m)
	}
	return moments
}

// take lets an event change the state.
func (m *moment) take(e timeline.Event, service string, labels map[string]bool) {
	switch {
	case e.Kind == timeline.Leader:
		m.says[e.Subject] = e.Value
	case e.Kind == timeline.Endpoints && e.Subject == service:
		m.endpoints = strings.FieldsFunc(e.Value, func(c rune) bool { return c == ',' })
		slices.Sort(m.endpoints)
	case e.Kind == timeline.Label:
		labels[e.Subject] = e.Value == "true"
		m.labelled = nil
		for _, pod := range slices.Sorted(maps.Keys(labels)) {
			if labels[pod] {
				m.labelled = append(m.labelled, pod)
			}
		}
	}
}

// gap is a time of which it is not known whether a pod was active.
type gap struct {
	pod      string
	from, to time.Time
}

// gapsIn finds the gaps, in order of their beginning.
func gapsIn(events []timeline.Event) []gap {
	var gaps []gap
	for _, e := range events {
		if e.Kind == timeline.Gap {
			gaps = append(gaps, gap{e.Subject, e.At, e.At.Add(time.Duration(e.LatencyMS * float64(time.Millisecond)))})
		}
	}
	return gaps
}

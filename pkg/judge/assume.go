package judge

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/vaultproof/vaultproof/pkg/probe"
	"github.com/vaultproof/vaultproof/pkg/timeline"
)

const (
	// around is how long before a fault and after its end there has to be load.
	around = 3 * time.Second
	// shortest is how long a fault is looked at, however short it was.
	shortest = time.Second
)

// gaps says what a judgement of the run would rest on and is not there: a
// witness of each fault, and enough load before, during and after it.
func gaps(run Run) []string {
	var out []string
	if len(run.Due) == 0 {
		return []string{"the timeline holds no operation, so that nothing tells whether there was load when faults hit"}
	}
	first, last := time.Unix(0, run.Due[0]), time.Unix(0, run.Due[len(run.Due)-1])
	for _, h := range hitsIn(run.Events) {
		if h.to.Before(first) || h.from.After(last) {
			continue // no client saw it
		}
		if !h.witnessed {
			out = append(out, fmt.Sprintf("%s (%s) has no witness: nothing proves that it hit", h.id, h.what))
		}
		span := probe.Span{Start: later(first, h.from.Add(-around)), Fault: h.from, Recovered: h.to, End: earlier(last, h.to.Add(around))}
		if run.Final == nil {
			continue // which is a gap by itself, and leaves the rate of the load unknown
		}
		if err := probe.CheckTraffic(asked(run.Due, span), span, run.Final.Rate); err != nil {
			out = append(out, fmt.Sprintf("%s: %s", h.id, strings.ReplaceAll(err.Error(), "\n", "; ")))
		}
	}
	return out
}

// asked are the operations due in a span, all taken for good: a history shows
// what became of those that were not, and an earlier fault may just have ended.
// That clients were served before a fault is for those to judge who blame an
// outage on it.
func asked(due []int64, span probe.Span) []timeline.Event {
	begin, _ := slices.BinarySearch(due, span.Start.UnixNano())
	end, _ := slices.BinarySearch(due, span.End.UnixNano())
	ops := make([]timeline.Event, 0, end-begin)
	for _, at := range due[begin:end] {
		ops = append(ops, timeline.Event{At: time.Unix(0, at), Kind: timeline.Operation, OK: true})
	}
	return ops
}

// hit is a fault that was injected.
type hit struct {
	id, what  string // what: kind and target
	from, to  time.Time
	witnessed bool
}

// hitsIn finds the faults that were injected, in order of time. One of which the
// timeline does not tell the end lasts as long as the last thing said of it.
func hitsIn(events []timeline.Event) []hit {
	var hits []hit
	injected := map[string]int{} // position by fault
	begun := map[string]time.Time{}
	for _, e := range events {
		if e.Kind != timeline.Fault {
			continue
		}
		switch e.Value {
		case "injecting":
			begun[e.Subject] = e.At
			delete(injected, e.Subject) // a new one of the same name
		case "injected":
			from, ok := begun[e.Subject]
			if !ok {
				from = e.At
			}
			injected[e.Subject] = len(hits)
			hits = append(hits, hit{id: e.Subject, what: e.Detail, from: from, to: from.Add(shortest)})
		}
		if i, ok := injected[e.Subject]; ok {
			hits[i].to = later(hits[i].to, e.At)
			hits[i].witnessed = hits[i].witnessed || e.Value == "witnessed"
		}
	}
	return hits
}

func later(a, b time.Time) time.Time {
	if b.After(a) {
		return b
	}
	return a
}

func earlier(a, b time.Time) time.Time {
	if b.Before(a) {
		return b
	}
	return a
}

package probe

import (
	"maps"
	"slices"
	"time"

	"github.com/vaultproof/vaultproof/pkg/timeline"
)

// strays looks at every good answer to an operation that was due in the span.
//
// A pod that was active at any instant from Blur before the operation was due
// until Blur after its answer may have given it. So may one of which it is not
// known what it was. A pod that did not answer, or was never asked, is only counted
// if another one was active by its own word all the while.
func (r *Routing) strays(events []timeline.Event, from, to time.Time) {
	logs := wordsIn(events)
	for _, e := range events {
		if e.Kind != timeline.Operation || !e.OK || e.Value == "" || e.At.Before(from) || !e.At.Before(to) {
			continue
		}
		r.Answers++
		answered := e.At.Add(time.Duration(e.LatencyMS * float64(time.Millisecond)))
		begin, end := e.At.Add(-Blur), answered.Add(Blur)
		log, asked := logs[e.Value]
		var own []string
		if asked {
			own = log.between(begin, end)
		}
		if slices.Contains(own, "active") || slices.Contains(own, unsaid) {
			continue
		}
		var others []string
		throughout := false
		for _, pod := range slices.Sorted(maps.Keys(logs)) {
			theirs := logs[pod].between(begin, end)
			if pod != e.Value && slices.Contains(theirs, "active") {
				others = append(others, pod)
				throughout = throughout || len(theirs) == 1
			}
		}
		if (!asked || slices.Contains(own, "unreachable")) && !throughout {
			continue
		}
		r.Strays = append(r.Strays, Answer{Pod: e.Value, Operation: e.Subject, Due: e.At, At: answered, Said: own, Active: others})
	}
}

// unsaid stands for what a pod would have said, had it been asked.
const unsaid = ""

// words is what one pod said of itself, in order; a gap is unsaid from its
// beginning to its end.
type words []word

type word struct {
	at   time.Time
	said string
}

// wordsIn sorts what all pods said.
func wordsIn(events []timeline.Event) map[string]words {
	logs := map[string]words{}
	for _, e := range events {
		if e.Kind == timeline.Leader {
			logs[e.Subject] = append(logs[e.Subject], word{e.At, e.Value})
		}
	}
	for _, g := range gapsIn(events) {
		log := logs[g.pod]
		// What was said at the end of the gap holds from there on.
		after := log.at(g.to)
		log = slices.DeleteFunc(log, func(w word) bool { return !w.at.Before(g.from) && !w.at.After(g.to) })
		log = append(log, word{g.from, unsaid}, word{g.to, after})
		slices.SortStableFunc(log, func(a, b word) int { return a.at.Compare(b.at) })
		logs[g.pod] = log
	}
	return logs
}

// at is what the pod said last at an instant.
func (w words) at(at time.Time) string {
	said := unsaid
	if next := w.after(at); next > 0 {
		said = w[next-1].said
	}
	return said
}

// after is the index of the first word after an instant.
func (w words) after(at time.Time) int {
	next, _ := slices.BinarySearchFunc(w, at, func(one word, at time.Time) int {
		if one.at.After(at) {
			return 1
		}
		return -1
	})
	return next
}

// between is all that the pod said from one instant to another, what it came with
// first, each state once.
func (w words) between(from, to time.Time) []string {
	said := []string{w.at(from)}
	for _, one := range w[w.after(from):] {
		if one.at.After(to) {
			break
		}
		if !slices.Contains(said, one.said) {
			said = append(said, one.said)
		}
	}
	return said
}

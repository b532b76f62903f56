package history

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/vaultproof/vaultproof/pkg/timeline"
)

// Stale finds reads that gave a version older than one that had been
// acknowledged, or read, before they were called. That is what an active pod
// does that was cut off and does not know it. events are those of the run: they
// tell what the pod that answered said of itself, and who was active.
func Stale(ops []Op, events []timeline.Event) []Finding {
	roles := rolesIn(events)
	var found []Finding
	for name, positions := range byKey(ops, func(op Op) bool { return op.Outcome == OK && (op.Kind == Read || op.Kind == Write) }) {
		byCall := make([]*Op, len(positions))
		for i, p := range positions {
			byCall[i] = &ops[p]
		}
		byReturn := slices.Clone(byCall)
		slices.SortStableFunc(byCall, func(a, b *Op) int { return cmp.Compare(a.Call, b.Call) })
		slices.SortStableFunc(byReturn, func(a, b *Op) int { return cmp.Compare(a.Return, b.Return) })
		newest := &Op{} // with the highest version that was known before a call
		next := 0
		for _, op := range byCall {
			for ; next < len(byReturn) && byReturn[next].Return < op.Call; next++ {
				if byReturn[next].Version > newest.Version {
					newest = byReturn[next]
				}
			}
			if op.Kind == Read && op.Version < newest.Version {
				found = append(found, Finding{Key: name, At: instant(op.Return), Text: fmt.Sprintf(
					"a read of %s answered by %s at %s gave version %d, though %s had answered a %s with version %d %s before it was called; %s",
					name, podName(op.Pod), clock(op.Return), op.Version, podName(newest.Pod), newest.Kind, newest.Version,
					gap(op.Call-newest.Return), roles.explain(op))})
			}
		}
	}
	return sortFindings(found)
}

// roles are what pods said of themselves, in order: active, standby, sealed or
// unreachable.
type roles map[string][]timeline.Event

func rolesIn(events []timeline.Event) roles {
	r := roles{}
	for _, e := range events {
		if e.Kind == timeline.Leader {
			r[e.Subject] = append(r[e.Subject], e)
		}
	}
	for _, log := range r {
		timeline.Sort(log)
	}
	return r
}

// last is what a pod had said of itself by an instant of the history.
func (r roles) last(pod string, ns int64) (timeline.Event, bool) {
	log := r[pod]
	after, _ := slices.BinarySearchFunc(log, instant(ns), func(e timeline.Event, at time.Time) int {
		if e.At.After(at) {
			return 1
		}
		return -1
	})
	if after == 0 {
		return timeline.Event{}, false
	}
	return log[after-1], true
}

// explain says what the pod that answered was at the time, and who was active.
func (r roles) explain(op *Op) string {
	text := "nothing tells what it was then"
	if own, ok := r.last(op.Pod, op.Return); ok {
		text = fmt.Sprintf("by its own word it was %s since %s", own.Value, clock(own.At.UnixNano()))
	}
	active := "nobody else was active"
	for _, pod := range slices.Sorted(maps.Keys(r)) {
		if pod == op.Pod {
			continue
		}
		if e, ok := r.last(pod, op.Return); ok && e.Value == "active" {
			active = fmt.Sprintf("%s was active since %s", pod, clock(e.At.UnixNano()))
		}
	}
	return text + ", and " + active
}

package history

import (
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"

	"github.com/vaultproof/vaultproof/pkg/timeline"
)

// Clusters tells whether all pods were of one cluster over the whole run, by
// the cluster_id that each gave. seen is how many answers tell one.
func Clusters(events []timeline.Event) (found []Finding, seen int) {
	first := map[string]timeline.Event{} // by cluster_id
	for _, e := range events {
		if e.Kind != timeline.Cluster || e.Value == "" {
			continue
		}
		seen++
		if known, ok := first[e.Value]; !ok || e.At.Before(known.At) {
			first[e.Value] = e
		}
	}
	if len(first) < 2 {
		return nil, seen
	}
	ids := slices.SortedFunc(maps.Values(first), func(a, b timeline.Event) int { return a.At.Compare(b.At) })
	var told []string
	for _, e := range ids {
		told = append(told, fmt.Sprintf("%s by %s from %s on", e.Value, e.Subject, clock(e.At.UnixNano())))
	}
	return []Finding{{Key: ids[1].Subject, At: ids[1].At, Text: fmt.Sprintf(
		"the pods named %d cluster ids, want one over the whole run: %s", len(ids), strings.Join(told, ", "))}}, seen
}

// Indexes finds pods whose raft index went back: an entry that was applied was
// taken away again. seen is how many events tell an index.
func Indexes(events []timeline.Event) (found []Finding, seen int) {
	return backward(events, timeline.Index, "the raft index that %s has applied went back from %d (%s) to %d (%s)")
}

// Terms finds pods whose raft term went back. seen is how many events tell one.
func Terms(events []timeline.Event) (found []Finding, seen int) {
	return backward(events, timeline.Term, "the raft term of %s went back from %d (%s) to %d (%s)")
}

// backward finds numbers of a kind that are lower than one of the same subject
// before. A value that is no number tells nothing.
func backward(events []timeline.Event, kind timeline.Kind, text string) (found []Finding, seen int) {
	type height struct {
		number uint64
		at     int64
	}
	last := map[string]height{}
	for _, e := range inOrder(events, kind) {
		n, err := strconv.ParseUint(e.Value, 10, 64)
		if err != nil {
			continue
		}
		seen++
		now := height{n, e.At.UnixNano()}
		before, known := last[e.Subject]
		if known && n < before.number {
			found = append(found, Finding{Key: e.Subject, At: e.At,
				Text: fmt.Sprintf(text, e.Subject, before.number, clock(before.at), n, clock(now.at))})
		}
		// From here on it is measured by where it is now: one step back is one
		// finding.
		last[e.Subject] = now
	}
	return sortFindings(found), seen
}

// inOrder are the events of a kind, by time.
func inOrder(events []timeline.Event, kind timeline.Kind) []timeline.Event {
	var own []timeline.Event
	for _, e := range events {
		if e.Kind == kind {
			own = append(own, e)
		}
	}
	timeline.Sort(own)
	return own
}

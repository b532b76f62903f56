package history

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
	"time"
)

// Loss is an acknowledged write, or entry of a journal, that is no longer there.
type Loss struct {
	Key string `json:"key"`
	// At is when it was acknowledged.
	At time.Time `json:"at"`
	// Version and Value are those that were acknowledged; an entry has no version.
	Version int    `json:"version"`
	Value   string `json:"value"`
	// Reason is what was found in its place.
	Reason string `json:"reason"`
}

// String says what was lost and what was found.
func (l Loss) String() string {
	if l.Version == 0 && l.Value != "" {
		return fmt.Sprintf("%s, entry %s: %s", l.Key, l.Value, l.Reason)
	}
	return fmt.Sprintf("key %s, version %d: %s", l.Key, l.Version, l.Reason)
}

// Lost finds acknowledged writes and entries of journals that are no longer
// there. final is what every key and journal held after the cluster healed; one
// that is missing from it counts as not readable. Every acknowledged entry must
// be in its journal. It checks, for each key:
//   - no version was acknowledged to two writes;
//   - the last version is not below the highest that was acknowledged;
//   - if it is that version, the value is the one acknowledged with it;
//   - if it is above, an unacknowledged write of the history accounts for it.
//
// The result is ordered by key, version and time; none means nothing was lost.
// It never says more than it knows: writes below the highest acknowledged
// version are covered by [Linearizable], because versions only grow one by one.
func Lost(ops []Op, final Final) []Loss {
	var losses []Loss
	written := byKey(ops, func(op Op) bool { return op.Kind == Write && op.Outcome != Fail })
	for name, positions := range written {
		state, found := final.Registers[name]
		losses = append(losses, lostOf(ops, positions, state, found)...)
	}
	losses = append(losses, lostEntries(ops, final.Journals)...)
	slices.SortStableFunc(losses, func(a, b Loss) int {
		return cmp.Or(strings.Compare(a.Key, b.Key), a.Version-b.Version, a.At.Compare(b.At))
	})
	return losses
}

// lostOf judges the writes to one key, and what it held at the end, if it could
// be read.
func lostOf(ops []Op, writes []int32, state State, found bool) []Loss {
	var losses []Loss
	acked := map[int]*Op{}        // by version
	doubtful := map[string]bool{} // values whose fate is not known
	var top *Op                   // acknowledged with the highest version
	lose := func(op *Op, format string, args ...any) {
		losses = append(losses, Loss{Key: op.Key, At: instant(op.Return), Version: op.Version, Value: op.Value, Reason: fmt.Sprintf(format, args...)})
	}
	for _, p := range writes {
		op := &ops[p]
		switch first := acked[op.Version]; {
		case op.Outcome == Unknown:
			doubtful[op.Value] = true
			continue
		case op.Version <= 0:
			lose(op, "the write of %q was acknowledged without a version", op.Value)
			continue
		case first != nil:
			lose(first, "acknowledged twice: to %q by %s and to %q by %s", first.Value, podName(first.Pod), op.Value, podName(op.Pod))
			continue
		}
		acked[op.Version] = op
		if top == nil || op.Version > top.Version {
			top = op
		}
	}
	switch {
	case top == nil: // nothing was promised
	case !found:
		lose(top, "%q was acknowledged by %s, and the key could not be read at the end", top.Value, podName(top.Pod))
	case state.Version < top.Version:
		lose(top, "%q was acknowledged by %s, and at the end the key is at version %d (%q)", top.Value, podName(top.Pod), state.Version, state.Value)
	case state.Version == top.Version && state.Value != top.Value:
		lose(top, "%q was acknowledged by %s, and at the end the version holds %q", top.Value, podName(top.Pod), state.Value)
	case state.Version > top.Version && !doubtful[state.Value]:
		lose(top, "at the end the key is at version %d with %q, which no client can have written there", state.Version, state.Value)
	}
	return losses
}

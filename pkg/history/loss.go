package history

import (
	"fmt"
	"slices"
	"strings"
)

// Loss is one broken promise about an acknowledged write.
type Loss struct {
	Key string `json:"key"`
	// Version and Value are those that were acknowledged.
	Version int    `json:"version"`
	Value   string `json:"value"`
	// Reason is what was found in its place.
	Reason string `json:"reason"`
}

// String says what was lost and what was found.
func (l Loss) String() string {
	return fmt.Sprintf("key %s, version %d: %s", l.Key, l.Version, l.Reason)
}

// Lost finds acknowledged writes that are no longer there. final is what every
// key held after the cluster healed; a key that is missing from it counts as
// not readable. It checks, for each key:
//   - no version was acknowledged to two writes;
//   - the last version is not below the highest that was acknowledged;
//   - if it is that version, the value is the one acknowledged with it;
//   - if it is above, an unacknowledged write of the history accounts for it.
//
// The result is ordered by key and version; none means nothing was lost. It
// never says more than it knows: writes below the highest acknowledged version
// are covered by [Linearizable], because versions only grow one by one.
func Lost(ops []Op, final map[string]State) []Loss {
	type key struct {
		acked   map[int]Op      // by version
		top     int             // highest acknowledged version
		unknown map[string]bool // values whose fate is not known
		losses  []Loss
	}
	keys := map[string]*key{}
	for _, op := range ops {
		if op.Kind != Write || op.Outcome == Fail {
			continue
		}
		k := keys[op.Key]
		if k == nil {
			k = &key{acked: map[int]Op{}, unknown: map[string]bool{}}
			keys[op.Key] = k
		}
		if op.Outcome == Unknown {
			k.unknown[op.Value] = true
			continue
		}
		if op.Version <= 0 {
			k.losses = append(k.losses, Loss{op.Key, op.Version, op.Value,
				fmt.Sprintf("the write of %q was acknowledged without a version", op.Value)})
			continue
		}
		if first, twice := k.acked[op.Version]; twice {
			k.losses = append(k.losses, Loss{op.Key, op.Version, first.Value,
				fmt.Sprintf("acknowledged twice: to %q by %s and to %q by %s",
					first.Value, podName(first.Pod), op.Value, podName(op.Pod))})
			continue
		}
		k.acked[op.Version] = op
		k.top = max(k.top, op.Version)
	}

	var losses []Loss
	for name, k := range keys {
		losses = append(losses, k.losses...)
		if k.top == 0 {
			continue
		}
		top := k.acked[k.top]
		loss := Loss{Key: name, Version: k.top, Value: top.Value}
		state, found := final[name]
		switch {
		case !found:
			loss.Reason = fmt.Sprintf("%q was acknowledged by %s, and the key could not be read at the end",
				top.Value, podName(top.Pod))
		case state.Version < k.top:
			loss.Reason = fmt.Sprintf("%q was acknowledged by %s, and at the end the key is at version %d (%q)",
				top.Value, podName(top.Pod), state.Version, state.Value)
		case state.Version == k.top && state.Value != top.Value:
			loss.Reason = fmt.Sprintf("%q was acknowledged by %s, and at the end the version holds %q",
				top.Value, podName(top.Pod), state.Value)
		case state.Version > k.top && !k.unknown[state.Value]:
			loss.Reason = fmt.Sprintf("at the end the key is at version %d with %q, which no client can have written there",
				state.Version, state.Value)
		default:
			continue
		}
		losses = append(losses, loss)
	}
	slices.SortFunc(losses, func(a, b Loss) int {
		if c := strings.Compare(a.Key, b.Key); c != 0 {
			return c
		}
		return a.Version - b.Version
	})
	return losses
}

func podName(pod string) string {
	if pod == "" {
		return "a pod that gave no name"
	}
	return pod
}

package history

import (
	"cmp"
	"slices"
	"time"
)

// Finding is one broken promise, other than the loss of an acknowledged write.
type Finding struct {
	// Key is what it is about: a key, journal, transit key, token, lease or pod.
	Key string
	// At is when it showed.
	At time.Time
	// Text says what was seen and what was wanted.
	Text string
}

// String is the text.
func (f Finding) String() string { return f.Text }

func sortFindings(found []Finding) []Finding {
	slices.SortStableFunc(found, func(a, b Finding) int {
		return cmp.Or(a.At.Compare(b.At), cmp.Compare(a.Key, b.Key))
	})
	return found
}

// byKey sorts the positions of the operations to keep by their key, in order.
func byKey(ops []Op, keep func(Op) bool) map[string][]int32 {
	groups := map[string][]int32{}
	for i := range ops {
		if keep(ops[i]) {
			groups[ops[i].Key] = append(groups[ops[i].Key], int32(i))
		}
	}
	return groups
}

// instant is a time of the history.
func instant(ns int64) time.Time { return time.Unix(0, ns) }

// clock makes an instant fit for a message.
func clock(ns int64) string { return instant(ns).UTC().Format("15:04:05.000") }

// gap makes a distance in nanoseconds fit for a message.
func gap(ns int64) time.Duration {
	d := time.Duration(ns)
	if d < 10*time.Millisecond {
		return d.Round(10 * time.Microsecond)
	}
	return d.Round(time.Millisecond)
}

func podName(pod string) string {
	if pod == "" {
		return "a pod that gave no name"
	}
	return pod
}

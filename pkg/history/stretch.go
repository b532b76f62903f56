package history

import (
	"cmp"
	"math"
	"slices"
)

// stretchLength is how many operations of a key are judged at a time, if they
// can be parted there. The memory of the search grows with its square.
const stretchLength = 500

// settle sorts the operations of one key by their calls, and says of each write
// of unknown outcome what is known of it after all, which spares the search much:
//   - if its value was seen, it took place before the first such answer;
//   - if nobody saw it, and the version that it would have made holds another
//     value, it never took place, and is left out;
//   - else it may take place at any time, for ever.
//
// Return is from here on the latest time at which an operation took place.
func settle(ops []Op) []Op {
	seen := map[string]int64{} // when the first answer with a value came
	holder := map[int]bool{}   // versions that are known to exist
	for _, op := range ops {
		if op.Outcome != OK {
			continue
		}
		holder[op.Version] = true
		if first, ok := seen[op.Value]; !ok || op.Return < first {
			seen[op.Value] = op.Return
		}
	}
	ops = slices.DeleteFunc(ops, func(op Op) bool {
		_, found := seen[op.Value]
		return op.Outcome == Unknown && !found && holder[op.CAS+1]
	})
	for i := range ops {
		if ops[i].Outcome != Unknown {
			continue
		}
		ops[i].Return = math.MaxInt64
		if first, ok := seen[ops[i].Value]; ok {
			ops[i].Return = max(first, ops[i].Call) // an answer before the call is a violation
		}
	}
	slices.SortStableFunc(ops, func(a, b Op) int { return cmp.Compare(a.Call, b.Call) })
	return ops
}

// stretch is a part of the operations of one key that can be judged by itself:
// nothing was under way when it began.
type stretch struct {
	// before is the version of the key before the first operation.
	before int
	ops    []Op
}

// stretches cuts the settled operations of one key where all that were called
// before had ended. The state at such a point is certain: it is what the write
// with the highest version left. A stretch therefore begins with that write,
// though it is of the one before.
func stretches(ops []Op) []stretch {
	var all []stretch
	var last Op // the write with the highest version so far
	current := stretch{}
	over := int64(math.MinInt64) // when all operations so far have ended
	for _, op := range ops {
		if len(current.ops) >= stretchLength && op.Call > over {
			all = append(all, current)
			current = stretch{}
			if last.Kind == Write {
				current = stretch{before: last.CAS, ops: []Op{last}}
			}
		}
		current.ops = append(current.ops, op)
		over = max(over, op.Return)
		if op.Kind == Write && (last.Kind != Write || op.CAS >= last.CAS) {
			last = op
		}
	}
	return append(all, current)
}

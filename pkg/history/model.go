package history

import (
	"cmp"
	"errors"
	"fmt"
	"hash/fnv"
	"slices"

	"github.com/anishathalye/porcupine"
)

// call and answer are what the model sees of an operation.
type call struct {
	kind  Kind
	value string
	cas   int
}

type answer struct {
	known   bool // false for a write of unknown outcome
	version int
	value   string // what was read
	pod     string
}

// registerAt is the sequential specification of one key of a kv v2 engine
// written with check-and-set, which is at a version when the first operation is
// called. If it exists then, that operation is a write.
func registerAt(version int) porcupine.Model {
	model := register
	model.Init = func() any { return State{Version: version} }
	return model
}

var register = porcupine.Model{
	Step: func(state, input, output any) (bool, any) {
		s, in, out := state.(State), input.(call), output.(answer)
		if in.kind == Read {
			return s.Version == out.version && s.Value == out.value, s
		}
		next := State{Version: in.cas + 1, Value: in.value}
		if !out.known {
			// It takes effect if the version fits where the search places it,
			// else it is refused. It may always be placed at the end, where
			// nothing depends on it, so "it never happened" needs no case of
			// its own.
			if s.Version == in.cas {
				return true, next
			}
			return true, s
		}
		return s.Version == in.cas && out.version == next.Version, next
	},
	Equal: func(a, b any) bool { return a.(State) == b.(State) },
	Hash: func(state any) uint64 {
		s := state.(State)
		h := fnv.New64a()
		_, _ = h.Write([]byte(s.Value)) // a hash never fails
		return h.Sum64() ^ uint64(s.Version)*0x9e3779b97f4a7c15
	},
	DescribeOperation: func(input, output any) string {
		in, out := input.(call), output.(answer)
		switch {
		case in.kind == Read && out.version == 0:
			return "read: no such key"
		case in.kind == Read:
			return fmt.Sprintf("read %s (v%d)", out.value, out.version)
		case !out.known:
			return fmt.Sprintf("write %s (cas %d): no answer", in.value, in.cas)
		default:
			return fmt.Sprintf("write %s (cas %d): v%d", in.value, in.cas, out.version)
		}
	},
	DescribeState: func(state any) string {
		s := state.(State)
		if s.Version == 0 {
			return "no such key"
		}
		return fmt.Sprintf("v%d: %s", s.Version, s.Value)
	},
	DescribeOperationMetadata: func(info any) string {
		pod, _ := info.(string)
		return "answered by " + podName(pod)
	},
}

// operations translates a stretch of the settled history of one key.
func operations(ops []Op) []porcupine.Operation {
	rows := rowsOf(ops)
	out := make([]porcupine.Operation, len(ops))
	for i, op := range ops {
		out[i] = porcupine.Operation{
			ClientId: rows[i],
			Input:    call{kind: op.Kind, cas: op.CAS},
			Call:     op.Call,
			Output:   answer{known: op.Outcome == OK, version: op.Version, pod: op.Pod},
			Return:   op.Return,
			Metadata: op.Pod,
		}
		if op.Kind == Write {
			out[i].Input = call{kind: op.Kind, value: op.Value, cas: op.CAS}
		} else {
			out[i].Output = answer{known: true, version: op.Version, value: op.Value, pod: op.Pod}
		}
	}
	return out
}

// rowsOf gives operations, sorted by their calls, the lowest row of the picture that
// is free: hundreds of clients take turns on a key, and one row each would
// bury what matters.
func rowsOf(ops []Op) []int {
	var free []int64 // when a row becomes free
	rows := make([]int, len(ops))
	for i, op := range ops {
		row := slices.IndexFunc(free, func(at int64) bool { return at < op.Call })
		if row < 0 {
			free = append(free, 0)
			row = len(free) - 1
		}
		free[row] = op.Return
		rows[i] = row
	}
	return rows
}

// suspect points at the first plain contradiction in the settled history of one
// key. The judgement does not rest on it; it saves the reader the search.
func suspect(ops []Op) string {
	values := map[int]Op{}
	for _, op := range ops {
		if op.Outcome != OK || op.Version == 0 {
			continue
		}
		if first, ok := values[op.Version]; ok && first.Value != op.Value {
			return fmt.Sprintf("version %d is %q for the %s answered by %s and %q for the %s answered by %s", op.Version,
				first.Value, first.Kind, podName(first.Pod), op.Value, op.Kind, podName(op.Pod))
		}
		values[op.Version] = op
	}
	byReturn := slices.Clone(ops)
	slices.SortStableFunc(byReturn, func(a, b Op) int { return cmp.Compare(a.Return, b.Return) })
	var newest Op // highest version known before the call at hand
	next := 0
	for _, op := range ops {
		for ; next < len(byReturn) && byReturn[next].Return < op.Call; next++ {
			if byReturn[next].Version > newest.Version {
				newest = byReturn[next]
			}
		}
		if op.Outcome == OK && op.Kind == Read && op.Version < newest.Version {
			return fmt.Sprintf("a read answered by %s returned version %d when version %d had been answered by %s %.1f ms before it began",
				podName(op.Pod), op.Version, newest.Version, podName(newest.Pod), float64(op.Call-newest.Return)/1e6)
		}
		if op.Outcome == OK && op.Kind == Write && op.CAS < newest.Version {
			return fmt.Sprintf("a write conditional on version %d was accepted by %s when version %d had been answered by %s",
				op.CAS, podName(op.Pod), newest.Version, podName(newest.Pod))
		}
	}
	return "no order of the operations explains all answers"
}

// Visualize draws the key that broke the model as a self-contained HTML page.
// It is an error to ask for a picture of a history without a violation.
func (r Result) Visualize(path string) error {
	if r.Verdict != Violation {
		return errors.New("drawing the history: no key broke the model, so there is nothing to draw")
	}
	if err := porcupine.VisualizePath(registerAt(r.before), r.failed, path); err != nil {
		return fmt.Errorf("drawing key %s to %s: %w", r.Key, path, err)
	}
	return nil
}

package history

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"slices"
	"sync"
	"time"

	"github.com/anishathalye/porcupine"
	"golang.org/x/sync/errgroup"
)

// Verdict is the outcome of a judgement.
type Verdict string

// The verdicts.
const (
	// Linearizable: there is an order of the operations that explains every
	// answer.
	IsLinearizable Verdict = "linearizable"
	// Violation: there is none.
	Violation Verdict = "violation"
	// Undecided: the time ran out. It is not a pass.
	Undecided Verdict = "unknown"
)

// Result is the judgement of a history.
type Result struct {
	// OK is true for IsLinearizable alone.
	OK      bool
	Verdict Verdict
	// Key is the first key, by name, that broke the model or, when none did,
	// the first that could not be decided.
	Key string
	// Info says what was found, in one sentence.
	Info string
	// Keys, Ops count what was judged; Unknown how many of Ops have an
	// unknown outcome.
	Keys, Ops, Unknown int

	failed porcupine.LinearizationInfo
}

// Judging looks at one key at a time, so memory stays bounded by the longest
// key; this is the longest that one key may take when ctx has no deadline.
const keyPatience = 5 * time.Minute

// Linearizable judges every key as a compare-and-set register that does not
// exist at first. Operations that failed, and reads without an answer, say
// nothing and are left out; a write with an unknown outcome may take effect at
// any time after its call, for ever, or never.
//
// The deadline of ctx bounds the judgement: what is not decided by then is
// Undecided. An error means that the history itself is unfit to be judged; an
// empty one is, since it would prove nothing.
func Linearizable(ctx context.Context, ops []Op) (Result, error) {
	byKey, err := split(ops)
	if err != nil {
		return Result{}, err
	}
	names := make([]string, 0, len(byKey))
	result := Result{Verdict: IsLinearizable, OK: true, Keys: len(byKey)}
	for name, history := range byKey {
		names = append(names, name)
		result.Ops += len(history)
		for _, op := range history {
			if op.Outcome == Unknown {
				result.Unknown++
			}
		}
	}
	slices.Sort(names)

	var mu sync.Mutex
	found := map[string]Verdict{}
	var group errgroup.Group
	group.SetLimit(runtime.GOMAXPROCS(0))
	for _, name := range names {
		group.Go(func() error {
			verdict := Undecided
			if patience, ok := remaining(ctx); ok {
				verdict = verdictOf(porcupine.CheckOperationsTimeout(register, operations(byKey[name]), patience))
			}
			if verdict != IsLinearizable {
				mu.Lock()
				found[name] = verdict
				mu.Unlock()
			}
			return nil
		})
	}
	_ = group.Wait() // the goroutines return no error

	for _, want := range []Verdict{Violation, Undecided} {
		for _, name := range names {
			if found[name] == want {
				return explain(ctx, result, want, name, byKey[name], found), nil
			}
		}
	}
	result.Info = fmt.Sprintf("%d operations on %d keys are linearizable", result.Ops, result.Keys)
	return result, nil
}

// explain fills in what is known about the key that failed.
func explain(ctx context.Context, r Result, verdict Verdict, name string, ops []Op, found map[string]Verdict) Result {
	r.OK, r.Verdict, r.Key = false, verdict, name
	count := 0
	for _, v := range found {
		if v == verdict {
			count++
		}
	}
	if verdict == Undecided {
		r.Info = fmt.Sprintf("the time ran out before %d of %d keys were decided, the first of them %s", count, r.Keys, name)
		return r
	}
	r.Info = fmt.Sprintf("%d of %d keys are not linearizable, the first of them %s (%d operations): %s",
		count, r.Keys, name, len(ops), suspect(ops))
	// A second pass over one key gathers what the picture needs. It takes
	// about as long as the first did.
	if patience, ok := remaining(ctx); ok {
		_, r.failed = porcupine.CheckOperationsVerbose(register, operations(ops), patience)
	}
	return r
}

// remaining is how long a key may take; false when the time is up.
func remaining(ctx context.Context) (time.Duration, bool) {
	if ctx.Err() != nil {
		return 0, false
	}
	patience := keyPatience
	if deadline, ok := ctx.Deadline(); ok {
		patience = min(patience, time.Until(deadline))
	}
	return patience, patience > 0 // porcupine takes 0 for "for ever"
}

func verdictOf(r porcupine.CheckResult) Verdict {
	switch r {
	case porcupine.Ok:
		return IsLinearizable
	case porcupine.Illegal:
		return Violation
	default:
		return Undecided
	}
}

// split sorts what has to be judged by key.
func split(ops []Op) (map[string][]Op, error) {
	byKey := map[string][]Op{}
	writers := map[string]int{} // the write that used a value
	for i, op := range ops {
		if err := op.Validate(); err != nil {
			return nil, fmt.Errorf("judging the history: operation %d (%s %s): %w", i+1, op.Kind, op.Key, err)
		}
		if op.Kind == Write {
			id := op.Key + "\x00" + op.Value
			if first, used := writers[id]; used {
				return nil, fmt.Errorf("judging the history: operations %d and %d both write %q to %s; values must be unique",
					first+1, i+1, op.Value, op.Key)
			}
			writers[id] = i
		}
		if op.Outcome == OK || (op.Outcome == Unknown && op.Kind == Write) {
			byKey[op.Key] = append(byKey[op.Key], op)
		}
	}
	if len(byKey) == 0 {
		return nil, errors.New("judging the history: no operation has an answer, so there is nothing to judge")
	}
	for key, history := range byKey {
		byKey[key] = withoutDead(history)
	}
	return byKey, nil
}

// withoutDead leaves out writes of unknown outcome that provably never took
// place: nobody saw their value, and the version they would have made holds
// another one. Each that stays doubles what a search may have to try.
func withoutDead(ops []Op) []Op {
	seen := map[string]bool{}
	holder := map[int]bool{}
	for _, op := range ops {
		if op.Outcome == OK {
			seen[op.Value] = true
			holder[op.Version] = true
		}
	}
	return slices.DeleteFunc(ops, func(op Op) bool {
		return op.Outcome == Unknown && !seen[op.Value] && holder[op.CAS+1]
	})
}

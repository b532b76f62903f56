package history

import (
	"context"
	"errors"
	"fmt"
	"maps"
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
	before int // the version before what failed
}

// keyPatience is the longest that one key may take when ctx has no deadline.
const keyPatience = 5 * time.Minute

// Linearizable judges every key that was read and written as a compare-and-set
// register that does not exist at first. Operations that failed, and reads
// without an answer, say nothing and are left out; a write with an unknown
// outcome may take effect at any time after its call, for ever, or never.
//
// Keys are judged one by one and in stretches, so that memory does not grow
// with the length of a history, but with how much of it happened at once.
//
// The deadline of ctx bounds the judgement: what is not decided by then is
// Undecided. An error means that the history itself is unfit to be judged; an
// empty one is, since it would prove nothing.
func Linearizable(ctx context.Context, ops []Op) (Result, error) {
	if err := validate(ops); err != nil {
		return Result{}, err
	}
	registers := byKey(ops, func(op Op) bool {
		return op.Outcome == OK && (op.Kind == Read || op.Kind == Write) || op.Outcome == Unknown && op.Kind == Write
	})
	if len(registers) == 0 {
		return Result{}, errors.New("judging the history: no operation has an answer, so there is nothing to judge")
	}
	names := slices.Sorted(maps.Keys(registers))

	var mu sync.Mutex
	result := Result{Verdict: IsLinearizable, OK: true, Keys: len(names)}
	bad := map[string]keyResult{}
	var group errgroup.Group
	group.SetLimit(runtime.GOMAXPROCS(0))
	for _, name := range names {
		group.Go(func() error {
			if err := distinct(ops, registers[name]); err != nil {
				return err
			}
			r := judgeKey(ctx, ops, registers[name])
			mu.Lock()
			defer mu.Unlock()
			result.Ops += r.ops
			result.Unknown += r.unknown
			if r.verdict != IsLinearizable {
				bad[name] = r
			}
			return nil
		})
	}
	if err := group.Wait(); err != nil {
		return Result{}, err
	}

	for _, want := range []Verdict{Violation, Undecided} {
		for _, name := range names {
			if r, ok := bad[name]; ok && r.verdict == want {
				result.explain(ctx, name, bad)
				return result, nil
			}
		}
	}
	result.Info = fmt.Sprintf("%d operations on %d keys are linearizable", result.Ops, result.Keys)
	return result, nil
}

// keyResult is the judgement of one key.
type keyResult struct {
	verdict Verdict
	// ops counts the operations judged, unknown those of unknown outcome.
	ops, unknown int
	broken       stretch // what is not linearizable
	suspicion    string  // where the reader should look first
}

// judgeKey judges the operations at the given positions, which are of one key.
func judgeKey(ctx context.Context, ops []Op, positions []int32) keyResult {
	own := make([]Op, len(positions))
	for i, p := range positions {
		own[i] = ops[p]
	}
	own = settle(own)
	r := keyResult{verdict: IsLinearizable, ops: len(own)}
	for _, op := range own {
		if op.Outcome == Unknown {
			r.unknown++
		}
	}
	for _, s := range stretches(own) {
		patience, ok := remaining(ctx)
		if !ok {
			r.verdict = Undecided
			return r
		}
		r.verdict = verdictOf(porcupine.CheckOperationsTimeout(registerAt(s.before), operations(s.ops), patience))
		if r.verdict != IsLinearizable {
			r.broken, r.suspicion = s, suspect(own)
			return r
		}
	}
	return r
}

// explain fills in what is known about the key that failed.
func (r *Result) explain(ctx context.Context, name string, bad map[string]keyResult) {
	first := bad[name]
	r.OK, r.Verdict, r.Key = false, first.verdict, name
	count := 0
	for _, other := range bad {
		if other.verdict == first.verdict {
			count++
		}
	}
	if first.verdict == Undecided {
		r.Info = fmt.Sprintf("the time ran out before %d of %d keys were decided, the first of them %s", count, r.Keys, name)
		return
	}
	r.Info = fmt.Sprintf("%d of %d keys are not linearizable, the first of them %s (%d operations): %s",
		count, r.Keys, name, first.ops, first.suspicion)
	// A second pass over the part that broke gathers what the picture needs.
	if patience, ok := remaining(ctx); ok {
		r.before = first.broken.before
		_, r.failed = porcupine.CheckOperationsVerbose(registerAt(first.broken.before), operations(first.broken.ops), patience)
	}
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

// validate makes sure that operations can be judged.
func validate(ops []Op) error {
	for i := range ops {
		if err := ops[i].Validate(); err != nil {
			return fmt.Errorf("judging the history: operation %d (%s): %w", i+1, ops[i].Kind, err)
		}
	}
	return nil
}

// distinct makes sure that no two of the operations at the given positions write
// the same value: what is read has to tell who wrote it.
func distinct(ops []Op, positions []int32) error {
	writers := map[string]int32{}
	for _, p := range positions {
		op := &ops[p]
		if op.Kind != Write && op.Kind != Append {
			continue
		}
		if first, used := writers[op.Value]; used {
			return fmt.Errorf("judging the history: operations %d and %d both %s %q to %s; values must be unique",
				first+1, p+1, op.Kind, op.Value, op.Key)
		}
		writers[op.Value] = p
	}
	return nil
}

// Package schedule combines faults: one after another, at times that a seed decides,
// or one in the midst of another. A schedule is planned before anything is touched,
// so that the same seed makes the same one again.
package schedule

import (
	"context"
	"fmt"
	"math/rand/v2"
	"slices"
	"time"
)

// Step is one fault of a schedule.
type Step struct {
	// N counts from 1.
	N int
	// At is when it is due after the start of the schedule. It comes later if
	// what was before has not ended.
	At time.Duration
	// Kind and Target say what is done, and to whom.
	Kind, Target string
	// Hold is how long the fault lasts; 0 for one that is over at once.
	Hold time.Duration
}

// String is how a step is told, for messages.
func (s Step) String() string {
	text := fmt.Sprintf("step %d, %s of %s at %s", s.N, s.Kind, s.Target, s.At)
	if s.Hold > 0 {
		text += fmt.Sprintf(" for %s", s.Hold)
	}
	return text
}

// Rounds plans rounds of one kind of fault. Each takes every target once, in an order of
// its own, and each step is due as soon as the one before has ended.
func Rounds(kind string, targets []string, rounds int, random *rand.Rand) []Step {
	var steps []Step
	order := slices.Clone(targets)
	for range rounds {
		random.Shuffle(len(order), func(i, j int) { order[i], order[j] = order[j], order[i] })
		for _, target := range order {
			steps = append(steps, Step{N: len(steps) + 1, Kind: kind, Target: target})
		}
	}
	return steps
}

// Run takes one step after another: each when it is due, and not before strike has
// returned from the one before. It ends with the first error of strike, and names the
// step.
func Run(ctx context.Context, steps []Step, strike func(context.Context, Step) error) error {
	start := time.Now()
	for _, s := range steps {
		if err := until(ctx, start.Add(s.At)); err != nil {
			return fmt.Errorf("waiting for %s: %w", s, err)
		}
		if err := strike(ctx, s); err != nil {
			return fmt.Errorf("%s: %w", s, err)
		}
	}
	return nil
}

// until waits for an instant, which may be past.
func until(ctx context.Context, at time.Time) error {
	timer := time.NewTimer(time.Until(at))
	defer timer.Stop()
	select {
	case <-timer.C:
		return ctx.Err()
	case <-ctx.Done():
		return ctx.Err()
	}
}

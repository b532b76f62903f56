package trial

import (
	"context"
	"errors"
	"fmt"

	"github.com/vaultproof/vaultproof/pkg/conformance"
	"github.com/vaultproof/vaultproof/pkg/fault"
	"github.com/vaultproof/vaultproof/pkg/fault/schedule"
)

// Followed is what the steps of a schedule showed.
type Followed struct {
	Results []Result // of those whose fault could be injected, in their order
	LeftOut []error  // why the others could not be
}

// Follow makes a trial of each step of a schedule and judges it, and puts the spread of
// what they took into the report. The next step begins when Vault is whole again and no
// sooner. A trial that is judged bad does not end the others, nor does a fault that the
// cluster cannot be given; one that did not end well does.
func Follow(ctx context.Context, r *conformance.Case, steps []schedule.Step, plan func(schedule.Step) Plan, judge func(schedule.Step, Result) error) (Followed, error) {
	r.Trials = len(steps) // a step is a trial, and is named as one
	var f Followed
	var bad []error
	defer func() {
		for name, ms := range spread(f.Results) {
			r.Measure(name, ms)
		}
	}()
	err := schedule.Run(ctx, steps, func(ctx context.Context, s schedule.Step) error {
		res, err := Run(ctx, r, s.N, plan(s))
		if errors.Is(err, fault.ErrUnavailable) {
			r.Note("%s was left out: %v", s, err)
			f.LeftOut = append(f.LeftOut, err)
			return nil
		}
		if err != nil {
			return err
		}
		f.Results = append(f.Results, res)
		if err := judge(s, res); err != nil {
			bad = append(bad, fmt.Errorf("%s: %w", s, err))
		}
		if s.N == len(steps) {
			return nil
		}
		return r.CannotTell(freshenAll(ctx, r))
	})
	if err != nil {
		return f, errors.Join(append(bad, err)...)
	}
	return f, someOf(bad, len(steps))
}

// freshenAll replaces, one after another, the pods whose container was restarted.
func freshenAll(ctx context.Context, r *conformance.Case) error {
	pods, err := r.Target.Pods(ctx)
	if err != nil {
		return err
	}
	for _, p := range pods {
		if !heldBack(p, r.Target.Container) {
			continue
		}
		if err := Freshen(ctx, r, p.Name); err != nil {
			return err
		}
		if _, err := AwaitWhole(ctx, r.Target); err != nil {
			return fmt.Errorf("after pod %s was replaced between two trials %w", p.Name, err)
		}
	}
	return nil
}

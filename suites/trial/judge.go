package trial

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/vaultproof/vaultproof/pkg/conformance"
	"github.com/vaultproof/vaultproof/pkg/report"
)

// Repeat runs the plan as often as the run asks for, judges each trial, and puts the
// spread of what they took into the report. A trial that is judged bad does not end the
// others: how often it happens says more than that it did. One that could not be made or
// did not end well does.
func Repeat(ctx context.Context, r *conformance.Case, p Plan, judge func(Result) error) ([]Result, error) {
	var results []Result
	var bad []error
	defer func() {
		for name, ms := range spread(results) {
			r.Measure(name, ms)
		}
	}()
	for n := 1; n <= r.Trials; n++ {
		res, err := Run(ctx, r, n, p)
		if err != nil {
			return results, errors.Join(append(bad, err)...)
		}
		if err := judge(res); err != nil {
			bad = append(bad, err)
		}
		results = append(results, res)
		if n < r.Trials {
			if err := Freshen(ctx, r, res.Active); err != nil {
				return results, errors.Join(append(bad, r.CannotTell(err))...)
			}
		}
	}
	return results, someOf(bad, r.Trials)
}

// someOf sums up what was wrong with some of the trials.
func someOf(bad []error, trials int) error {
	switch {
	case len(bad) == 0:
		return nil
	case trials == 1:
		return bad[0]
	default:
		return fmt.Errorf("%d of %d trials, the first: %w", len(bad), trials, bad[0])
	}
}

// Outages runs the plan as often as asked for and judges the outages together,
// against the plan's budget.
func Outages(ctx context.Context, r *conformance.Case, p Plan, judge func(Result) error) error {
	results, err := Repeat(ctx, r, p, judge)
	if err != nil {
		return err
	}
	return HeldToBudget(r, results, p.Outage)
}

// HeldToBudget is WithinBudget, except that a machine which was starved of time is no
// measure.
func HeldToBudget(r *conformance.Case, results []Result, budget time.Duration) error {
	if err := WithinBudget(results, budget); err != nil {
		return excused(r, results, err)
	}
	return nil
}

// WithinBudget judges the 95th percentile of the outages; of fewer than twenty
// that is the longest.
func WithinBudget(results []Result, budget time.Duration) error {
	if len(results) == 0 {
		return errors.New("no trial was made")
	}
	if budget <= 0 {
		return errors.New("no budget is set for the outage")
	}
	for _, res := range results {
		if err := Ended(res); err != nil {
			return err
		}
	}
	worst := report.Rank(byOutage(results), 0.95)
	if worst.Outage.Length() <= budget {
		return nil
	}
	return fmt.Errorf("after %s (%s of %s) no operation succeeded for good from %s on for %s, budget %s; %d failed, the first with: %s%s",
		worst.ID, worst.Kind, worst.Target, Clock(worst.Outage.Start), Round(worst.Outage.Length()), budget,
		worst.Outage.Failed, worst.Outage.FirstError, where(worst.Phases))
}

// Ended judges whether clients were served again at the end of a trial.
func Ended(res Result) error {
	if !res.Outage.Open {
		return nil
	}
	return fmt.Errorf("after %s (%s of %s) clients were still failing when the check ended, %s after the first failure at %s (%s)",
		res.ID, res.Kind, res.Target, Round(res.Outage.Length()), Clock(res.Outage.Start), res.Outage.FirstError)
}

// TookOver judges whether another pod took over from the one that was hit. A
// Vault that only came back on the same pod was no highly available one.
func TookOver(res Result) error {
	if res.Phases.Elected == nil {
		return fmt.Errorf("no pod became active after %s (%s of %s), want a standby to take over from %s", res.ID, res.Kind, res.Target, res.Active)
	}
	return nil
}

func byOutage(results []Result) []Result {
	return slices.SortedFunc(slices.Values(results), func(a, b Result) int { return int(a.Outage.Length() - b.Outage.Length()) })
}

// where says in which phase the time went.
func where(p report.Phases) string {
	text := ""
	for _, m := range milestones {
		name, at := strings.ReplaceAll(m.name, "_", " "), m.at(p)
		if at == nil {
			text += ", " + name + " never seen"
			continue
		}
		text += fmt.Sprintf(", %s at %.0f ms", name, *at)
	}
	return "; after the injection" + text[1:]
}

// Round makes a duration fit for a message.
func Round(d time.Duration) time.Duration { return d.Round(10 * time.Millisecond) }

// Clock makes an instant fit for a message.
func Clock(t time.Time) string { return t.UTC().Format("15:04:05.000") }

package trial

import (
	"context"
	"errors"
	"fmt"
	"math"
	"slices"
	"time"

	"github.com/vaultproof/vaultproof/pkg/conformance"
	"github.com/vaultproof/vaultproof/pkg/report"
)

// Repeat runs the plan as often as the run asks for, judges each trial, and
// puts the spread of the outages into the report.
func Repeat(ctx context.Context, r *conformance.Case, p Plan, judge func(Result) error) ([]Result, error) {
	var results []Result
	for n := 1; n <= r.Trials; n++ {
		res, err := Run(ctx, r, n, p)
		if err != nil {
			return results, err
		}
		if err := judge(res); err != nil {
			return results, err
		}
		results = append(results, res)
	}
	if len(results) > 1 {
		sorted := byOutage(results)
		r.Measure("outage_median_ms", math.Round(rank(sorted, 0.5).Outage.MS()))
		r.Measure("outage_p95_ms", math.Round(rank(sorted, 0.95).Outage.MS()))
	}
	return results, nil
}

// Outages runs the plan as often as asked for and judges the outages together,
// against the plan's budget.
func Outages(ctx context.Context, r *conformance.Case, p Plan, judge func(Result) error) error {
	results, err := Repeat(ctx, r, p, judge)
	if err != nil {
		return err
	}
	return WithinBudget(results, p.Outage)
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
	worst := rank(byOutage(results), 0.95)
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

// rank is the smallest of sorted that at least the part q is not above.
func rank(sorted []Result, q float64) Result {
	return sorted[max(0, int(math.Ceil(q*float64(len(sorted))))-1)]
}

// where says in which phase the time went.
func where(p report.Phases) string {
	text := ""
	for _, phase := range []struct {
		name string
		at   *float64
	}{
		{"detected", p.Detected}, {"elected", p.Elected}, {"labelled", p.Labelled}, {"routed", p.Routed}, {"first write", p.FirstWrite},
	} {
		if phase.at == nil {
			text += ", " + phase.name + " never seen"
			continue
		}
		text += fmt.Sprintf(", %s at %.0f ms", phase.name, *phase.at)
	}
	return "; after the injection" + text[1:]
}

// Round makes a duration fit for a message.
func Round(d time.Duration) time.Duration { return d.Round(10 * time.Millisecond) }

// Clock makes an instant fit for a message.
func Clock(t time.Time) string { return t.UTC().Format("15:04:05.000") }

package resilience

import (
	"context"

	"github.com/vaultproof/vaultproof/pkg/conformance"
	"github.com/vaultproof/vaultproof/suites/trial"
)

// once makes one trial and judges it, its outage included. Many trials are for what must
// hold, and take their time.
func once(ctx context.Context, r *conformance.Case, p trial.Plan, judge func(trial.Result) error) error {
	res, err := trial.Run(ctx, r, 1, p)
	if err != nil {
		return err
	}
	if err := judge(res); err != nil {
		return err
	}
	if err := trial.WithinBudget([]trial.Result{res}, p.Outage); err != nil {
		return err
	}
	return r.CannotTell(trial.Freshen(ctx, r, res.Active))
}

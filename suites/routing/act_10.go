package routing

import (
	"context"
	"errors"
	"fmt"
	"math"
	"time"

	"github.com/onsi/ginkgo/v2"

	"github.com/vaultproof/vaultproof/pkg/conformance"
	"github.com/vaultproof/vaultproof/pkg/fault"
	"github.com/vaultproof/vaultproof/pkg/probe"
	"github.com/vaultproof/vaultproof/pkg/target"
	"github.com/vaultproof/vaultproof/suites/trial"
)

// settle is how long after a repair clients may still be routed by the old
// endpoints: kube-proxy follows changes once a second.
const settle = 2 * time.Second

var act10 = conformance.Check{
	ID: "ACT-10", Area: area, Level: conformance.Should,
	Assertion: "vault-active=true put on a standby by hand is taken back within the budget, and no client notices",
	Source:    "hashicorp/vault serviceregistration/kubernetes/retry_handler.go: Vault never reasserts a label",
	Observe:   "vault-active=true set on a standby through the API; labels in the timeline, and the load through the active Service",
	Timeout:   30 * time.Minute,
}

var _ = conformance.It(act10, conformance.Chaos, func(ctx ginkgo.SpecContext, r *conformance.Case) error {
	if r.Budget <= 0 {
		return errors.New("no budget is set for the repair")
	}
	n := 0
	_, err := trial.Repeat(ctx, r, trial.Plan{
		Make: func(_ context.Context, states []target.PodState, _ target.PodState) (fault.Fault, error) {
			var standbys []string
			for _, s := range states {
				if !s.IsSelf {
					standbys = append(standbys, s.Pod.Name)
				}
			}
			if len(standbys) == 0 {
				return nil, r.Skip("there is no standby whose label could be wrong")
			}
			return &fault.LabelTamper{Env: r.Faults, Pod: standbys[r.Rand.IntN(len(standbys))], Label: target.ActiveLabel}, nil
		},
		Hold: func(ctx context.Context, hit trial.Struck) error {
			return trial.FlowUntil(ctx, r, hit.At.Add(r.Budget+settle))
		},
	}, func(res trial.Result) error {
		n++
		wrong := lastEnd(labelled(res.Events, res.Target, res.At, res.Undone), res.At)
		r.Measure(trial.Name(r, n, "repair_ms"), math.Round(float64(wrong.Sub(res.At).Milliseconds())))
		seen := probe.Measure(res.Events, res.At, wrong.Add(settle))
		return errors.Join(repaired(res, r.Budget), unharmed(res.Target, seen))
	})
	return err
})

// repaired judges how long the pod bore a label that is not its own.
func repaired(res trial.Result, budget time.Duration) error {
	spans := labelled(res.Events, res.Target, res.At.Add(budget), res.Undone)
	if len(spans) == 0 {
		return nil
	}
	still := spans[0].from
	return fmt.Errorf("standby %s bears %s=true still at %s, %s after it was set by hand; want it taken back within %s",
		res.Target, target.ActiveLabel, trial.Clock(still), trial.Round(still.Sub(res.At)), budget)
}

// unharmed judges what clients saw from the tampering until after the repair.
func unharmed(pod string, seen probe.Availability) error {
	if seen.Total == seen.OK {
		return nil
	}
	for text := range seen.Errors {
		return fmt.Errorf("%d of %d operations failed while standby %s was labelled active, one with: %s; want none", seen.Total-seen.OK, seen.Total, pod, text)
	}
	return nil
}

package routing

import (
	"context"
	"errors"
	"math"
	"time"

	"github.com/onsi/ginkgo/v2"

	"github.com/vaultproof/vaultproof/pkg/conformance"
	"github.com/vaultproof/vaultproof/pkg/fault"
	"github.com/vaultproof/vaultproof/pkg/target"
	"github.com/vaultproof/vaultproof/suites/trial"
)

// dark is how long the node stays off: longer than any budget for its endpoint,
// shorter than the 40 s after which Kubernetes itself finds out.
const dark = 20 * time.Second

var act06 = conformance.Check{
	ID: "ACT-06", Area: area, Level: conformance.Must,
	Assertion: "after the power-off of the active's node no ready endpoint of the active Service has its dead address longer than the budget",
	Source:    "kubernetes/kubernetes#126287, kubernetes/kubernetes#118952",
	Observe:   "power-off of the active's node; EndpointSlices of the active Service as they change",
	Timeout:   60 * time.Minute, // for many trials; each has its own
}

var _ = conformance.It(act06, conformance.Chaos, func(ctx ginkgo.SpecContext, r *conformance.Case) error {
	n := 0
	_, err := trial.Repeat(ctx, r, trial.Plan{
		Make: func(ctx context.Context, _ []target.PodState, active target.PodState) (fault.Fault, error) {
			return trial.PowerOff(ctx, r, active)
		},
		Hold: func(ctx context.Context, hit trial.Struck) error {
			return trial.FlowUntil(ctx, r, hit.At.Add(dark))
		},
	}, func(res trial.Result) error {
		n++
		dead := lastEnd(listed(res.Events, r.Target.ActiveService, res.Active, res.At, rightful(res)), res.At).Sub(res.At)
		r.Measure(trial.Name(r, n, "dead_endpoint_ms"), math.Round(float64(dead.Milliseconds())))
		return errors.Join(trial.TookOver(res), cleaned(res, r.Target.ActiveService, r.Budget), trial.Ended(res))
	})
	return err
})

// cleaned judges until when the pod on the dead node was a ready endpoint.
func cleaned(res trial.Result, service string, budget time.Duration) error {
	if budget <= 0 {
		return errors.New("no budget is set for the dead endpoint")
	}
	return notListed(res, service, res.At.Add(budget), rightful(res))
}

package resilience

import (
	"context"
	"time"

	"github.com/onsi/ginkgo/v2"

	"github.com/vaultproof/vaultproof/pkg/conformance"
	"github.com/vaultproof/vaultproof/pkg/fault"
	"github.com/vaultproof/vaultproof/pkg/target"
	"github.com/vaultproof/vaultproof/suites/trial"
)

var res01 = conformance.Check{
	ID: "RES-01", Area: area, Level: conformance.Must,
	Assertion: "after a graceful delete of the active pod the service is back within its budget",
	Source:    "raft step-down on SIGTERM; vault#21473",
	Observe:   "open-loop load through the active Service, timeline of leaders, labels and endpoints",
	Timeout:   30 * time.Minute, // for many trials; each has its own
}

var _ = conformance.It(res01, conformance.Chaos, func(ctx ginkgo.SpecContext, r *conformance.Case) error {
	return trial.Outages(ctx, r, trial.Plan{
		Make: func(_ context.Context, _ []target.PodState, active target.PodState) (fault.Fault, error) {
			return &fault.PodDelete{Env: r.Faults, Pod: active.Pod.Name}, nil
		},
		Outage: r.Budget,
	}, trial.TookOver)
})

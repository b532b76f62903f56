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

var res02 = conformance.Check{
	ID: "RES-02", Area: area, Level: conformance.Must,
	Assertion: "after SIGKILL of the active Vault process the service is back within its budget",
	Source:    "raft election with performance multiplier 1; vault#18117",
	Observe:   "open-loop load through the active Service, timeline of leaders, labels and endpoints",
	Timeout:   30 * time.Minute,
}

var _ = conformance.It(res02, conformance.Chaos, func(ctx ginkgo.SpecContext, r *conformance.Case) error {
	return trial.Outages(ctx, r, trial.Plan{
		Make: func(_ context.Context, _ []target.PodState, active target.PodState) (fault.Fault, error) {
			return &fault.ProcessKill{Env: r.Faults, Pod: active.Pod.Name}, nil
		},
		Outage: r.Budget,
	}, trial.TookOver)
})

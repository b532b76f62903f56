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
	"github.com/vaultproof/vaultproof/pkg/target"
	"github.com/vaultproof/vaultproof/suites/trial"
)

// crashing is how long each new container of the pod is killed: enough for the
// kubelet to hold restarts back, so that nothing of the pod is there to correct
// its own label.
const crashing = 25 * time.Second

var act05 = conformance.Check{
	ID: "ACT-05", Area: area, Level: conformance.Must,
	Assertion: "while the active's container crash-loops its stale label is neutralised within the budget, and the Service recovers",
	Source:    "hashicorp/vault serviceregistration/kubernetes/retry_handler.go: only a new process resets the label",
	Observe:   "SIGKILL of every new container of the active pod for 25 s; labels and EndpointSlices in the timeline",
	Timeout:   60 * time.Minute, // for many trials; each has its own
}

var _ = conformance.It(act05, conformance.Chaos, func(ctx ginkgo.SpecContext, r *conformance.Case) error {
	n := 0
	_, err := trial.Repeat(ctx, r, trial.Plan{
		Make: func(_ context.Context, _ []target.PodState, active target.PodState) (fault.Fault, error) {
			return &fault.CrashLoop{Env: r.Faults, Pod: active.Pod.Name, Duration: crashing}, nil
		},
		Hold: func(ctx context.Context, hit trial.Struck) error {
			return trial.FlowUntil(ctx, r, hit.At.Add(crashing))
		},
	}, func(res trial.Result) error {
		n++
		stale := lastEnd(labelled(res.Events, res.Active, res.At, rightful(res)), res.At).Sub(res.At)
		r.Measure(trial.Name(r, n, "stale_label_ms"), math.Round(float64(stale.Milliseconds())))
		return errors.Join(trial.TookOver(res), neutralised(res, r.Budget), recovered(res, r.Target.ActiveService, r.Budget), trial.Ended(res))
	})
	return err
})

// neutralised judges how long the pod that was hit bore vault-active=true
// without being active.
func neutralised(res trial.Result, budget time.Duration) error {
	if budget <= 0 {
		return errors.New("no budget is set for the stale label")
	}
	until := rightful(res)
	for _, s := range labelled(res.Events, res.Active, res.At, until) {
		if stale := s.to.Sub(res.At); stale > budget {
			return fmt.Errorf("pod %s bore %s=true from %s to %s, up to %s after %s (%s); want it gone within %s",
				res.Active, target.ActiveLabel, trial.Clock(s.from), trial.Clock(s.to), trial.Round(stale), res.ID, res.Kind, budget)
		}
	}
	return nil
}

// recovered judges whether, within the budget and for good, the Service had no
// ready endpoint that is the pod that was hit, and had its successor.
func recovered(res trial.Result, service string, budget time.Duration) error {
	if err := notListed(res, service, res.At.Add(budget), rightful(res)); err != nil {
		return err
	}
	routed := res.Routed()
	if routed.IsZero() || routed.Sub(res.At) > budget {
		when := "never"
		if !routed.IsZero() {
			when = trial.Round(routed.Sub(res.At)).String() + " after " + res.ID
		}
		return fmt.Errorf("Service %s had the new active pod alone as its endpoint %s (%s of %s), want within %s", service, when, res.Kind, res.Target, budget)
	}
	return nil
}

// notListed judges that a Service does not list the pod that was hit as ready
// between from and until.
func notListed(res trial.Result, service string, from, until time.Time) error {
	spans := listed(res.Events, service, res.Active, from, until)
	if len(spans) == 0 {
		return nil
	}
	first := spans[0]
	return fmt.Errorf("the EndpointSlices of Service %s list pod %s as ready %s after %s (%s), until %s; want it gone for good by %s",
		service, res.Active, trial.Round(first.from.Sub(res.At)), res.ID, res.Kind, trial.Clock(first.to), trial.Clock(from))
}

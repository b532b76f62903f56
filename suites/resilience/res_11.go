package resilience

import (
	"context"
	"fmt"
	"time"

	"github.com/onsi/ginkgo/v2"

	"github.com/vaultproof/vaultproof/pkg/conformance"
	"github.com/vaultproof/vaultproof/pkg/fault"
	"github.com/vaultproof/vaultproof/pkg/target"
	"github.com/vaultproof/vaultproof/suites/trial"
)

const (
	// stoppedFor is how long the active stays stopped: shorter than the minute after
	// which its liveness probe has it restarted, so that what helps is not that.
	stoppedFor = 15 * time.Second
	// stopMargin is how much longer than the stop its node waits before it ends it
	// itself.
	stopMargin = 20 * time.Second
)

// A process that is stopped, or waits for a disk for ever, is worse than a dead one: its
// pod is Ready for some seconds more, its connections stand, and it still thinks that it
// is the active one when it wakes up. A disk that stalls under a process that lives is not
// judged: raft sends its heartbeats past the disk, so the others have no reason to elect.
var res11 = conformance.Check{
	ID: "RES-11", Area: area, Level: conformance.Should,
	Assertion: "an active Vault that hangs is bypassed within its budget while it hangs, and acknowledges nothing when it wakes up",
	Source:    "post-mortem of a stalled fsync, viktorbarzin.me 2026-04-22; hashicorp/vault#18117",
	Observe:   "SIGSTOP of the active's processes, SIGCONT later; load through the active Service; the pod named in every answer",
	Timeout:   10 * time.Minute,
}

var _ = conformance.It(res11, conformance.Chaos, func(ctx ginkgo.SpecContext, r *conformance.Case) error {
	return once(ctx, r, trial.Plan{
		Make: func(_ context.Context, _ []target.PodState, active target.PodState) (fault.Fault, error) {
			return &fault.ProcessStop{Env: r.Faults, Pod: active.Pod.Name, Duration: stoppedFor + stopMargin}, nil
		},
		Hold: func(ctx context.Context, hit trial.Struck) error {
			return trial.FlowUntil(ctx, r, hit.At.Add(stoppedFor))
		},
		Outage: r.Budget,
	}, func(res trial.Result) error {
		if err := trial.TookOver(res); err != nil {
			return err
		}
		if err := bypassed(res); err != nil {
			return err
		}
		elected := res.Elected()
		return noneAcknowledged(res.Active, elected, reelected(res, elected), r.Traffic.Ops())
	})
})

// bypassed judges that clients were served again before the process went on, and not
// because it did.
func bypassed(res trial.Result) error {
	routed := res.Routed()
	if routed.IsZero() || routed.After(res.Undone) {
		return fmt.Errorf("the Service had not left pod %s, stopped at %s, for another one when it was let go on at %s; want a pod that hangs detected and bypassed",
			res.Active, trial.Clock(res.At), trial.Clock(res.Undone))
	}
	if res.Outage.Failed > 0 && !res.Outage.End.Before(res.Undone) {
		return fmt.Errorf("operations failed until %s, and pod %s, stopped at %s, was let go on at %s; want clients served by another one before (the first error was: %s)",
			trial.Clock(res.Outage.End), res.Active, trial.Clock(res.At), trial.Clock(res.Undone), res.Outage.FirstError)
	}
	return nil
}

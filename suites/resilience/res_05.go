package resilience

import (
	"context"
	"fmt"
	"time"

	"github.com/onsi/ginkgo/v2"

	"github.com/vaultproof/vaultproof/pkg/conformance"
	"github.com/vaultproof/vaultproof/pkg/fault"
	"github.com/vaultproof/vaultproof/pkg/history"
	"github.com/vaultproof/vaultproof/pkg/target"
	"github.com/vaultproof/vaultproof/pkg/timeline"
	"github.com/vaultproof/vaultproof/suites/trial"
)

const (
	// partitionLife is after how long the partition ends by itself, should the
	// run die: longer than it is ever held.
	partitionLife = 60 * time.Second
	// electionTimeout is how long the majority may take to elect while the
	// partition is held.
	electionTimeout = 25 * time.Second
	// afterElection is how long the partition is held on: time for a cut-off
	// pod that still thinks it is active to do harm.
	afterElection = 4 * time.Second
	// refusalTimeout is how long the cut-off pod may take to refuse a write.
	refusalTimeout = 8 * time.Second
)

var res05 = conformance.Check{
	ID: "RES-05", Area: area, Level: conformance.Must,
	Assertion: "an active pod cut off with its zone acknowledges no write, another one takes over within its budget, and the cluster heals",
	Source:    "hashicorp/vault#22063",
	Observe:   "partition of the active's zone in both directions; load through the active Service; writes straight to the cut-off pod",
	Timeout:   30 * time.Minute,
}

var _ = conformance.It(res05, conformance.Chaos, func(ctx ginkgo.SpecContext, r *conformance.Case) error {
	var direct []attempt
	return trial.Outages(ctx, r, trial.Plan{
		Make: func(_ context.Context, states []target.PodState, active target.PodState) (fault.Fault, error) {
			p, err := trial.Partition(r, states, active, partitionLife)
			if err != nil {
				return nil, err // not p: a nil partition is no nil fault
			}
			return p, nil
		},
		Hold: func(ctx context.Context, hit trial.Struck) error {
			var err error
			direct, err = holdPartition(ctx, r, hit)
			return err
		},
		Outage: r.Budget,
	}, func(res trial.Result) error {
		if err := trial.TookOver(res); err != nil {
			return err
		}
		elected := res.Elected()
		if err := refusedWrites(res.Active, elected, direct); err != nil {
			return err
		}
		return noneAcknowledged(res.Active, elected, reelected(res, elected), r.Traffic.Ops())
	})
})

// holdPartition keeps the partition until another pod is active and a while
// longer, and tries to write to the cut-off pod meanwhile.
func holdPartition(ctx context.Context, r *conformance.Case, hit trial.Struck) ([]attempt, error) {
	election, cancel := context.WithTimeout(ctx, electionTimeout)
	defer cancel()
	if trial.AwaitSuccessor(election, r.Target, hit.Active) == "" && ctx.Err() == nil {
		return nil, nil // the judgement of the trial says that nobody took over
	}
	var attempts []attempt
	for end := time.Now().Add(afterElection); time.Now().Before(end); {
		a := attempt{at: time.Now()}
		write, cancel := context.WithTimeout(ctx, refusalTimeout)
		a.err = r.Traffic.WriteTo(write, hit.Active, fmt.Sprintf("cut-off/%d-%d", hit.Trial, len(attempts)))
		cancel()
		attempts = append(attempts, a)
		if err := r.Traffic.Flow(ctx, 500*time.Millisecond); err != nil {
			return attempts, r.CannotTell(err)
		}
	}
	return attempts, nil
}

// reelected is when the cut-off pod was active again by right, after the
// partition; if it was not, the end of the trial.
func reelected(res trial.Result, elected time.Time) time.Time {
	for _, e := range res.Events {
		if e.Kind == timeline.Leader && e.Subject == res.Active && e.Value == "active" && e.At.After(elected) && e.At.Before(res.End) {
			return e.At
		}
	}
	return res.End
}

// attempt is one write straight to the cut-off pod; err is how it was refused.
type attempt struct {
	at  time.Time
	err error
}

// refusedWrites judges the writes straight to the cut-off pod after the
// election.
func refusedWrites(cutOff string, elected time.Time, attempts []attempt) error {
	tried := 0
	for _, a := range attempts {
		if a.at.Before(elected) {
			continue
		}
		tried++
		if a.err == nil {
			return fmt.Errorf("pod %s, cut off in the minority, acknowledged a write at %s, %s after another pod was elected; want it refused (hashicorp/vault#22063)",
				cutOff, trial.Clock(a.at), trial.Round(a.at.Sub(elected)))
		}
	}
	if tried == 0 {
		return fmt.Errorf("no write was tried on pod %s after the election at %s, so that it refuses them is not shown", cutOff, trial.Clock(elected))
	}
	return nil
}

// noneAcknowledged judges what clients saw: once another pod is elected, the
// cut-off pod acknowledges nothing that was asked after it. Reads count too,
// because they would be stale. Operations after end are not of this fault.
func noneAcknowledged(cutOff string, elected, end time.Time, ops []history.Op) error {
	for _, op := range ops {
		called := time.Unix(0, op.Call)
		if op.Outcome != history.OK || op.Pod != cutOff || called.Before(elected) || called.After(end) {
			continue
		}
		return fmt.Errorf("pod %s, cut off in the minority, acknowledged a %s at %s, %s after another pod was elected; want nothing from it (hashicorp/vault#22063)",
			cutOff, op.Kind, trial.Clock(called), trial.Round(called.Sub(elected)))
	}
	return nil
}

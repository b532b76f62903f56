package resilience

import (
	"context"
	"fmt"
	"time"

	"github.com/onsi/ginkgo/v2"

	"github.com/vaultproof/vaultproof/pkg/conformance"
	"github.com/vaultproof/vaultproof/pkg/fault"
	"github.com/vaultproof/vaultproof/pkg/history"
	"github.com/vaultproof/vaultproof/pkg/probe"
	"github.com/vaultproof/vaultproof/pkg/target"
	"github.com/vaultproof/vaultproof/suites/trial"
)

const (
	// quorumOutFor is how long no pod has a majority: long enough for the active to give
	// up (2.5 s), and for elections that nobody can win.
	quorumOutFor = 15 * time.Second
	// quorumLossLife is after how long it ends by itself, should the run die.
	quorumLossLife = 3 * time.Minute
	// lostWriteTimeout is how long a pod may take to refuse a write: short, so that all
	// pods are asked more than once.
	lostWriteTimeout = 2 * time.Second
)

var res07 = conformance.Check{
	ID: "RES-07", Area: area, Level: conformance.Must,
	Assertion: "without a quorum no pod acknowledges a write, and when it returns clients are served within the budget, with every acknowledged write and without anybody's help",
	Source:    "hashicorp/vault#20336; hashicorp/vault#22063",
	Observe:   "every Vault pod cut off from every other; writes straight to each of them; load through the active Service; what is read after the return against what was acknowledged before the loss",
	Timeout:   60 * time.Minute, // for many trials; each has its own
}

var _ = conformance.It(res07, conformance.Chaos, func(ctx ginkgo.SpecContext, r *conformance.Case) error {
	var loss quorumLoss
	var returned []trial.Result // as seen from the return of the quorum
	_, err := trial.Repeat(ctx, r, trial.Plan{
		Make: func(_ context.Context, states []target.PodState, _ target.PodState) (fault.Fault, error) {
			loss = quorumLoss{}
			for _, s := range states {
				loss.pods = append(loss.pods, s.Pod.Name)
			}
			return &fault.QuorumLoss{Env: r.Faults, Pods: loss.pods, Duration: quorumLossLife}, nil
		},
		Hold: func(ctx context.Context, hit trial.Struck) error { return loss.hold(ctx, r, hit.Trial) },
	}, func(res trial.Result) error {
		late := endOf(res, loss.until)
		r.Measure(trial.Name(r, len(returned)+1, "return_ms"), late.Outage.MS())
		returned = append(returned, late)
		if err := loss.refused(); err != nil {
			return err
		}
		if err := loss.unacknowledged(r.Traffic.Operations()); err != nil {
			return err
		}
		read, err := loss.readAgain(r.Traffic.Ops())
		r.Measure(trial.Name(r, len(returned), "keys_read_again_total"), float64(read))
		if err == nil && read == 0 {
			return r.Inconclusive("no key that was written before %s was read after it, so that nothing was lost is not shown", res.ID)
		}
		return err
	})
	if err != nil {
		return err
	}
	return trial.HeldToBudget(r, returned, r.Budget)
})

// quorumLoss is what was done while there was no quorum, and when that was.
type quorumLoss struct {
	pods        []string
	from, until time.Time // from the witness until the pods begin to be connected again
	attempts    map[string][]attempt
}

// hold keeps the quorum away and tries to write to each pod in turn meanwhile.
func (l *quorumLoss) hold(ctx context.Context, r *conformance.Case, n int) error {
	l.from, l.attempts = time.Now(), map[string][]attempt{}
	defer func() { l.until = time.Now() }()
	for tried := 0; time.Since(l.from) < quorumOutFor; tried++ {
		pod := l.pods[tried%len(l.pods)]
		a := attempt{at: time.Now()}
		write, cancel := context.WithTimeout(ctx, lostWriteTimeout)
		a.err = r.Traffic.WriteTo(write, pod, fmt.Sprintf("no-quorum/%d-%d", n, tried))
		cancel()
		l.attempts[pod] = append(l.attempts[pod], a)
		if err := r.Traffic.Flow(ctx, 250*time.Millisecond); err != nil {
			return r.CannotTell(err)
		}
	}
	return nil
}

// refused judges the writes straight to the pods.
func (l *quorumLoss) refused() error {
	for _, pod := range l.pods {
		for _, a := range l.attempts[pod] {
			if a.err == nil {
				return fmt.Errorf("pod %s acknowledged a write at %s, %s after every pod was cut off from every other; want it refused: no majority can have it (hashicorp/vault#22063)",
					pod, trial.Clock(a.at), trial.Round(a.at.Sub(l.from)))
			}
		}
		if len(l.attempts[pod]) == 0 {
			return fmt.Errorf("no write was tried on pod %s without a quorum, so that it refuses them is not shown", pod)
		}
	}
	return nil
}

// unacknowledged judges what clients were told: nothing that was asked and answered while
// there was no quorum may be a write's acknowledgement.
func (l *quorumLoss) unacknowledged(ops []probe.Operation) error {
	for _, op := range ops {
		if op.Kind != history.Write && op.Kind != history.Append || op.Outcome != history.OK {
			continue
		}
		asked, answered := time.Unix(0, op.Call), time.Unix(0, op.Return)
		if asked.Before(l.from) || answered.After(l.until) {
			continue
		}
		return fmt.Errorf("pod %s acknowledged a write to %s that was asked for at %s, %s after every pod was cut off from every other; want it refused: no majority can have it (hashicorp/vault#22063)",
			op.Pod, op.Key, trial.Clock(asked), trial.Round(asked.Sub(l.from)))
	}
	return nil
}

// readAgain judges what clients read after the return: no key may be at a version below
// the last that was acknowledged before the loss. It counts the keys that were read.
func (l *quorumLoss) readAgain(ops []history.Op) (keys int, err error) {
	acknowledged := map[string]int{} // version by key
	for _, op := range ops {
		if op.Kind == history.Write && op.Outcome == history.OK && time.Unix(0, op.Return).Before(l.from) {
			acknowledged[op.Key] = max(acknowledged[op.Key], op.Version)
		}
	}
	read := map[string]bool{}
	for _, op := range ops {
		version, written := acknowledged[op.Key]
		if op.Kind != history.Read || op.Outcome != history.OK || !written || time.Unix(0, op.Call).Before(l.until) {
			continue
		}
		read[op.Key] = true
		if op.Version < version && err == nil {
			err = fmt.Errorf("key %s was acknowledged at version %d before the quorum was lost, and pod %s gave version %d at %s, after its return: an acknowledged write is lost (hashicorp/vault#20336)",
				op.Key, version, op.Pod, op.Version, trial.Clock(time.Unix(0, op.Return)))
		}
	}
	return len(read), err
}

// endOf leaves of an outage what comes after an instant: how long it took to end once it
// could.
func endOf(res trial.Result, from time.Time) trial.Result {
	switch {
	case !res.Outage.Open && !res.Outage.End.After(from):
		res.Outage = probe.Window{}
	case res.Outage.Start.Before(from):
		res.Outage.Start = from
	}
	return res
}

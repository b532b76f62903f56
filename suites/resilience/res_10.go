package resilience

import (
	"context"
	"errors"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/onsi/ginkgo/v2"

	"github.com/vaultproof/vaultproof/pkg/conformance"
	"github.com/vaultproof/vaultproof/pkg/history"
	"github.com/vaultproof/vaultproof/pkg/judge"
	"github.com/vaultproof/vaultproof/pkg/report"
	"github.com/vaultproof/vaultproof/suites/trial"
)

const (
	// finalTimeout is how long reading every key may take.
	finalTimeout = time.Minute
	// judgeTimeout is how long the judgement may take.
	judgeTimeout = 3 * time.Minute
)

var res10 = conformance.Check{
	ID: "RES-10", Area: area, Level: conformance.Must,
	Assertion: "every acknowledged write is readable after all faults, what clients saw has one linear order, and what they were granted lasts",
	Source:    "raft: an acknowledged write is on a majority",
	Observe: "history of all operations of the load, stored before it is judged; last state of every key and journal; porcupine; " +
		"cluster_id, raft index and term of each pod",
	Timeout: finalTimeout + judgeTimeout + trial.WholeTimeout + time.Minute,
	Last:    true,
}

var _ = conformance.It(res10, conformance.Chaos, func(ctx ginkgo.SpecContext, r *conformance.Case) error {
	if _, err := trial.AwaitWhole(ctx, r.Target); err != nil {
		return r.Inconclusive("Vault is not whole, so the last state of the keys cannot be read: %w", err)
	}
	finalCtx, cancel := context.WithTimeout(ctx, finalTimeout)
	defer cancel()
	ops, final, err := r.Traffic.Final(finalCtx)
	if err != nil {
		return r.CannotTell(err)
	}
	// The history is stored by now. With this all is there to judge it again.
	final.Rate = r.Traffic.Rate()
	if err := history.SaveFinal(filepath.Join(r.Dir, history.FinalFile), final); err != nil {
		return r.CannotTell(err)
	}
	limited, cancel := context.WithTimeout(ctx, judgeTimeout)
	defer cancel()
	run := judge.Run{Ops: ops, Final: &final}
	run.Tell(r.Log.Events())
	j := judge.Judge(limited, run)
	r.Measure("operations_total", float64(len(ops)))
	for _, p := range j.Promises {
		r.Measure(p.ID+"_total", float64(len(p.Broken)))
		r.Measure(p.ID+"_judged_total", float64(p.Judged))
	}
	blame(r, j.Losses)
	if _, err := j.Draw(r.Dir); err != nil {
		r.Note("%v", err)
	}
	return verdictOf(r, j)
})

// verdictOf makes the verdict on the check of the judgement.
func verdictOf(r *conformance.Case, j judge.Judgement) error {
	var broken []error
	for _, p := range j.Broken() {
		broken = append(broken, errors.New(p.Sentence()))
	}
	if len(broken) > 0 {
		return errors.Join(broken...)
	}
	if len(j.Gaps) > 0 {
		return r.Inconclusive("%s", strings.Join(j.Gaps, "; "))
	}
	return nil
}

// blame writes each loss to the fault that came next after its
// acknowledgement, or to the last one.
func blame(r *conformance.Case, losses []history.Loss) {
	if len(losses) == 0 {
		return
	}
	var faults []time.Time
	r.AmendFaults(func(f *report.Fault) { faults = append(faults, f.InjectedAt) })
	counts := make([]int, len(faults))
	for _, l := range losses {
		if i := nextFault(faults, l.At); i >= 0 {
			counts[i]++
		}
	}
	i := 0
	r.AmendFaults(func(f *report.Fault) { f.AckedWritesLost = counts[i]; i++ })
}

// nextFault is the index of the first fault after at, else of the last one; -1
// if there is none. Faults are in order of time.
func nextFault(faults []time.Time, at time.Time) int {
	next := slices.IndexFunc(faults, func(f time.Time) bool { return !f.Before(at) })
	if next < 0 {
		return len(faults) - 1
	}
	return next
}

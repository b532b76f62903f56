package resilience

import (
	"context"
	"fmt"
	"path/filepath"
	"strings"
	"time"

	"github.com/onsi/ginkgo/v2"

	"github.com/vaultproof/vaultproof/pkg/conformance"
	"github.com/vaultproof/vaultproof/pkg/history"
	"github.com/vaultproof/vaultproof/pkg/report"
	"github.com/vaultproof/vaultproof/suites/trial"
)

const (
	// finalTimeout is how long reading every key may take.
	finalTimeout = time.Minute
	// judgeTimeout is how long the search for a linear order may take.
	judgeTimeout = 3 * time.Minute
	// violationFile draws the key that has no linear order.
	violationFile = "violation.html"
)

var res10 = conformance.Check{
	ID: "RES-10", Area: area, Level: conformance.Must,
	Assertion: "every acknowledged write is readable after all faults, and what clients saw has one linear order",
	Source:    "raft: an acknowledged write is on a majority",
	Observe:   "history of all operations of the load; last state of every key; porcupine",
	Timeout:   finalTimeout + judgeTimeout + trial.WholeTimeout + time.Minute,
	Last:      true,
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
	acknowledged := writes(ops)
	r.Measure("operations_total", float64(len(ops)))
	r.Measure("acknowledged_writes_total", float64(acknowledged))
	r.Measure("keys_total", float64(len(final)))
	if acknowledged == 0 {
		return r.Inconclusive("not one write was acknowledged, so none could be lost")
	}
	losses := history.Lost(ops, final)
	r.Measure("lost_writes_total", float64(len(losses)))
	blame(r, ops, losses)
	if err := nothingLost(losses, acknowledged); err != nil {
		return err
	}
	judge, cancel := context.WithTimeout(ctx, judgeTimeout)
	defer cancel()
	verdict, err := history.Linearizable(judge, ops)
	if err != nil {
		return r.CannotTell(err)
	}
	if verdict.Verdict == history.Undecided {
		return r.Inconclusive("%s", verdict.Info)
	}
	if !verdict.OK {
		if err := verdict.Visualize(filepath.Join(r.Dir, violationFile)); err != nil {
			r.Note("the violation could not be drawn: %v", err)
		}
		return fmt.Errorf("what clients saw has no linear order: %s; %s shows it", verdict.Info, violationFile)
	}
	return nil
})

func writes(ops []history.Op) (acknowledged int) {
	for _, op := range ops {
		if op.Kind == history.Write && op.Outcome == history.OK {
			acknowledged++
		}
	}
	return acknowledged
}

// nothingLost judges the losses.
func nothingLost(losses []history.Loss, acknowledged int) error {
	if len(losses) == 0 {
		return nil
	}
	const shown = 3
	var words []string
	for _, l := range losses[:min(shown, len(losses))] {
		words = append(words, l.String())
	}
	return fmt.Errorf("%d of %d acknowledged writes are lost, want none: %s", len(losses), acknowledged, strings.Join(words, "; "))
}

// blame writes each loss to the fault that came next after its
// acknowledgement, or to the last one.
func blame(r *conformance.Case, ops []history.Op, losses []history.Loss) {
	if len(losses) == 0 {
		return
	}
	var faults []time.Time
	r.AmendFaults(func(f *report.Fault) { faults = append(faults, f.InjectedAt) })
	counts := make([]int, len(faults))
	for _, at := range lostAt(ops, losses) {
		if i := nextFault(faults, at); i >= 0 {
			counts[i]++
		}
	}
	i := 0
	r.AmendFaults(func(f *report.Fault) { f.AckedWritesLost = counts[i]; i++ })
}

// lostAt finds when each lost write was acknowledged.
func lostAt(ops []history.Op, losses []history.Loss) []time.Time {
	var times []time.Time
	for _, l := range losses {
		for _, op := range ops {
			if op.Kind == history.Write && op.Key == l.Key && op.Version == l.Version && op.Outcome == history.OK {
				times = append(times, time.Unix(0, op.Return))
				break
			}
		}
	}
	return times
}

// nextFault is the index of the first fault after at, else of the last one; -1
// if there is none. Faults are in order of time.
func nextFault(faults []time.Time, at time.Time) int {
	for i, f := range faults {
		if !f.Before(at) {
			return i
		}
	}
	return len(faults) - 1
}

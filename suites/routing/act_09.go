package routing

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/onsi/ginkgo/v2"
	"k8s.io/apimachinery/pkg/util/wait"

	"github.com/vaultproof/vaultproof/pkg/conformance"
	"github.com/vaultproof/vaultproof/pkg/fault"
	"github.com/vaultproof/vaultproof/pkg/target"
	"github.com/vaultproof/vaultproof/suites/trial"
)

// labelErrors is the sidecar's counter of label changes that were refused.
const labelErrors = "vaultproof_label_errors_total"

var act09 = conformance.Check{
	ID: "ACT-09", Area: area, Level: conformance.Must,
	Assertion: "a label change that the API server refuses is counted in a metric to alert on, not only logged",
	Source:    "hashicorp/vault#10331, devantler-tech/platform PR#1990",
	Observe:   "the verb patch taken from the pods' Role, a label tampered with, and /metrics of every sidecar before and after",
	Timeout:   5 * time.Minute,
}

var _ = conformance.It(act09, conformance.Chaos, func(ctx ginkgo.SpecContext, r *conformance.Case) error {
	if r.Target.SidecarContainer == "" {
		return r.Skip("the pods of StatefulSet %s have no bootstrap container, and Vault counts its label errors nowhere", r.Target.StatefulSet)
	}
	standby, err := aStandby(ctx, r)
	if err != nil {
		return err
	}
	template, err := r.Target.Template(ctx)
	if err != nil {
		return r.CannotTell(err)
	}
	before, err := countLabelErrors(ctx, r.Target)
	if err != nil {
		return r.CannotTell(err)
	}
	denied := &fault.PatchDenied{Env: r.Faults, ServiceAccount: template.Spec.ServiceAccountName, Pod: standby}
	cut, err := strike(ctx, r, 1, denied)
	if err != nil {
		return err
	}
	defer cut.Report(ctx)
	// A wrong label gives the sidecar of the active pod a reason to try.
	tamper := &fault.LabelTamper{Env: r.Faults, Pod: standby, Label: target.ActiveLabel}
	wrong, err := strike(ctx, r, 2, tamper)
	if err != nil {
		return err
	}
	defer wrong.Report(ctx)
	started := time.Now()
	after, verdict := awaitLabelErrors(ctx, r, before)
	if verdict == nil {
		r.Measure("alert_ms", float64(time.Since(started).Milliseconds()))
	}
	r.Measure("label_errors_total", after-before)
	// Given back first, the right lets the sidecar put the label right itself.
	for _, b := range []*trial.Blow{cut, wrong} {
		if err := b.Undo(ctx); err != nil {
			return err
		}
	}
	return verdict
})

// strike injects a fault and waits for its witness.
func strike(ctx context.Context, r *conformance.Case, n int, f fault.Fault) (*trial.Blow, error) {
	b, err := trial.Strike(ctx, r, n, f)
	if err != nil {
		return nil, err
	}
	if err := b.Witness(ctx); err != nil {
		b.Report(ctx)
		return nil, err
	}
	return b, nil
}

// aStandby draws one of the standbys of a whole Vault.
func aStandby(ctx context.Context, r *conformance.Case) (string, error) {
	states, err := trial.AwaitWhole(ctx, r.Target)
	if err != nil {
		return "", r.Inconclusive("Vault was not whole before the fault: %w", err)
	}
	var standbys []string
	for _, s := range states {
		if !s.IsSelf {
			standbys = append(standbys, s.Pod.Name)
		}
	}
	if len(standbys) == 0 {
		return "", r.Skip("there is no standby whose label could be wrong")
	}
	return standbys[r.Rand.IntN(len(standbys))], nil
}

// awaitLabelErrors waits until the counters of all sidecars together have grown.
func awaitLabelErrors(ctx context.Context, r *conformance.Case, before float64) (float64, error) {
	if r.Budget <= 0 {
		return before, errors.New("no budget is set for the alert")
	}
	growth, cancel := context.WithTimeout(ctx, r.Budget)
	defer cancel()
	after := before
	var last error
	_ = wait.PollUntilContextCancel(growth, 500*time.Millisecond, true, func(ctx context.Context) (bool, error) {
		now, err := countLabelErrors(ctx, r.Target)
		if err != nil {
			if ctx.Err() == nil {
				last = err
			}
			return false, nil // the deadline decides
		}
		after = now
		return after > before, nil
	})
	if after == before && last != nil {
		return after, r.CannotTell(last)
	}
	return after, grew(before, after, r.Budget)
}

// grew judges the counters.
func grew(before, after float64, within time.Duration) error {
	if after > before {
		return nil
	}
	return fmt.Errorf("%s of all sidecars stayed at %g for %s while the API server refused to change a wrong label; want it to grow, because nobody alerts on a log line (hashicorp/vault#10331)",
		labelErrors, before, within)
}

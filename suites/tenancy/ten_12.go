package tenancy

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/onsi/ginkgo/v2"

	"github.com/vaultproof/vaultproof/pkg/conformance"
	"github.com/vaultproof/vaultproof/pkg/fault"
	"github.com/vaultproof/vaultproof/pkg/probe"
	"github.com/vaultproof/vaultproof/pkg/target"
	"github.com/vaultproof/vaultproof/pkg/tenancy"
	"github.com/vaultproof/vaultproof/pkg/terraform"
	"github.com/vaultproof/vaultproof/suites/trial"
)

// newcomer is the tenant that is being set up when the active is killed.
const newcomer = "vaultproof-c"

// aims is how often it is tried to kill the active while an apply is under way: how long one
// takes is known only roughly.
const aims = 4

var ten12 = conformance.Check{
	ID: "TEN-12", Area: area, Level: conformance.Must,
	Assertion: "a Terraform apply during which the active is killed is completed by the next one, and a plan after that is empty",
	Source:    "hashicorp/vault#21473; Terraform: an apply that fails keeps what it has made in the state",
	Observe:   "terraform apply of a tenant through the ingress, SIGKILL of the active in the midst of it (the outage of the load lies in the apply's time), another apply, a plan",
	Timeout:   20 * time.Minute,
}

var _ = conformance.It(ten12, conformance.Chaos, func(ctx ginkgo.SpecContext, r *conformance.Case) error {
	env, err := tenants(ctx, r)
	if err != nil {
		return err
	}
	w, err := env.awaits(ctx, r)
	if err != nil {
		return r.CannotTell(err)
	}
	takes, err := rehearse(ctx, w)
	if err != nil {
		return r.CannotTell(fmt.Errorf("before anything was broken: %w", err))
	}
	r.Measure("apply_ms", float64(takes.Milliseconds()))
	for aim := 1; aim <= aims; aim++ {
		// The kill itself takes a moment to come about, so half an apply is late enough.
		after := time.Duration(r.Rand.Float64() * float64(takes) / 2)
		cut, hit, err := interrupt(ctx, r, w, aim, after)
		if err != nil {
			return err
		}
		if !hit {
			r.Note("the apply was over at %s, before the active was gone: once more", clock(cut.ended))
			if err := w.Destroy(ctx); err != nil {
				return r.CannotTell(err)
			}
			continue
		}
		r.Measure("interrupted_apply_ms", float64(cut.ended.Sub(cut.began).Milliseconds()))
		again := w.Apply(ctx)
		if again != nil {
			return converged(cut, again, nil)
		}
		left, err := w.Plan(ctx)
		if err != nil {
			return r.CannotTell(err)
		}
		return converged(cut, nil, left)
	}
	return r.Inconclusive("none of %d applies was still under way when the active was gone (one takes %s)", aims, trial.Round(takes))
})

// awaits prepares the workspace of a tenant that is not there yet, and goes with the check.
func (e *Env) awaits(ctx context.Context, r *conformance.Case) (*terraform.Workspace, error) {
	t := e.Cluster.Tenant(newcomer)
	if err := sweepVault(ctx, r.Target, []tenancy.Tenant{t}); err != nil {
		return nil, err
	}
	w, err := e.workspace(ctx, r, t)
	if err != nil {
		return nil, err
	}
	r.Defer(w.Destroy)
	return w, nil
}

// rehearse sets the tenant up undisturbed, takes it away again, and tells how long the
// former takes. The first apply gets the providers besides.
func rehearse(ctx context.Context, w *terraform.Workspace) (time.Duration, error) {
	if _, err := w.Plan(ctx); err != nil {
		return 0, err
	}
	began := time.Now()
	if err := w.Apply(ctx); err != nil {
		return 0, err
	}
	took := time.Since(began)
	left, err := w.Plan(ctx)
	if err != nil {
		return 0, err
	}
	if len(left) > 0 {
		return 0, fmt.Errorf("a plan after an undisturbed apply would still %s", told(left))
	}
	return took, w.Destroy(ctx)
}

// apply is one that the active was to be killed in the midst of.
type apply struct {
	began, ended time.Time
	err          error
}

// interrupt begins an apply and kills the active a while after. It tells whether the apply
// was still under way when clients noticed.
func interrupt(ctx context.Context, r *conformance.Case, w *terraform.Workspace, n int, after time.Duration) (apply, bool, error) {
	states, err := trial.AwaitWhole(ctx, r.Target)
	if err != nil {
		return apply{}, false, r.Inconclusive("Vault was not whole before the fault: %w", err)
	}
	active, err := target.OnlyActive(states)
	if err != nil {
		return apply{}, false, r.CannotTell(err)
	}
	done := make(chan apply, 1)
	go func() {
		a := apply{began: time.Now()}
		a.err = w.Apply(ctx)
		a.ended = time.Now()
		done <- a
	}()
	if err := r.Traffic.Flow(ctx, after); err != nil {
		return <-done, false, r.CannotTell(err)
	}
	blow, err := trial.Strike(ctx, r, n, &fault.ProcessKill{Env: r.Faults, Pod: active.Pod.Name})
	if err != nil {
		return <-done, false, err
	}
	defer blow.Report(ctx)
	err = blow.Witness(ctx)
	cut := <-done
	if err := errors.Join(err, blow.Undo(ctx)); err != nil {
		return cut, false, err
	}
	if _, err := trial.AwaitWhole(ctx, r.Target); err != nil {
		return cut, false, fmt.Errorf("%s after the active was killed %w", trial.WholeTimeout, err)
	}
	if err := r.Traffic.Caught(ctx); err != nil {
		return cut, false, r.CannotTell(err)
	}
	return cut, cut.met(probe.Outage(r.Log.Events(), blow.At(), time.Now())), nil
}

// met tells whether an outage fell into the time of the apply.
func (a apply) met(outage probe.Window) bool {
	return outage.Failed > 0 && outage.Start.Before(a.ended) && outage.End.After(a.began)
}

// converged judges what came after an apply that was cut short: the next one, and what a plan
// would still change.
func converged(cut apply, again error, left []terraform.Change) error {
	ended := "in success all the same"
	if cut.err != nil {
		ended = fmt.Sprintf("in failure (%v)", cut.err)
	}
	switch {
	case again != nil:
		return fmt.Errorf("an apply during which the active was killed ended at %s %s, and the next one failed: %w; want the next one to complete it", clock(cut.ended), ended, again)
	case len(left) > 0:
		return fmt.Errorf("an apply during which the active was killed ended at %s %s, and after the next one a plan would still %s; want nothing to be left", clock(cut.ended), ended, told(left))
	}
	return nil
}

// told lists changes in words.
func told(changes []terraform.Change) string {
	var words []string
	for _, c := range changes {
		words = append(words, c.String())
	}
	return strings.Join(words, ", ")
}

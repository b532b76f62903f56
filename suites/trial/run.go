package trial

import (
	"context"
	"errors"
	"fmt"
	"math"
	"time"

	"github.com/vaultproof/vaultproof/pkg/conformance"
	"github.com/vaultproof/vaultproof/pkg/fault"
	"github.com/vaultproof/vaultproof/pkg/probe"
	"github.com/vaultproof/vaultproof/pkg/report"
	"github.com/vaultproof/vaultproof/pkg/target"
	"github.com/vaultproof/vaultproof/pkg/timeline"
)

// Run injects a fault once, with load before, during and after it, and records
// it in the report. Its error is the verdict if the trial itself shows one: no
// witness, too little traffic, no recovery.
func Run(ctx context.Context, r *conformance.Case, n int, p Plan) (Result, error) {
	ctx, cancel := context.WithTimeout(ctx, trialTimeout)
	defer cancel()
	res := Result{ID: fmt.Sprintf("%s#%d", r.Check.ID, n)}
	states, err := AwaitWhole(ctx, r.Target)
	if err != nil {
		return res, r.Inconclusive("Vault was not whole before the fault: %w", err)
	}
	active, err := target.OnlyActive(states)
	if err != nil {
		return res, r.CannotTell(err)
	}
	res.Active = active.Pod.Name
	broken, err := p.Make(ctx, states, active)
	if err != nil {
		return res, err
	}
	res.Kind, res.Target = broken.Kind(), broken.Target()

	span := probe.Span{Start: time.Now()}
	// A moment that the seed decides, so that faults do not all hit in step
	// with some timer of Vault.
	jitter := time.Duration(r.Rand.Int64N(int64(time.Second)))
	if err := r.Traffic.Flow(ctx, Calm+jitter); err != nil {
		return res, r.CannotTell(err)
	}
	note := func(state string) { Note(r, res.ID, broken, state) }
	note("injecting")
	span.Fault = time.Now()
	res.At = span.Fault
	injected, err := broken.Inject(ctx)
	if err != nil {
		if !errors.Is(err, fault.ErrUnavailable) {
			err = r.CannotTell(err)
		}
		return res, err
	}
	note("injected")
	undo := Undo(r, injected)

	record := report.Fault{
		ID: res.ID, Check: r.Check.ID, Kind: res.Kind, Target: res.Target, InjectedAt: res.At,
		BudgetMS: float64(p.Outage.Milliseconds()),
	}
	verdict := func() error {
		witness, err := Witness(ctx, injected)
		if err != nil {
			note("no-witness")
			return err
		}
		note("witnessed")
		record.Witness, record.WitnessedAt = witness.Evidence, witness.At
		if p.Hold == nil {
			return nil
		}
		return p.Hold(ctx, Struck{Trial: n, At: res.At, Active: res.Active})
	}()
	if err := undo(ctx); err != nil {
		r.Fault(record)
		return res, r.Inconclusive("%s was not undone: %w", res.ID, err)
	}
	if p.Hold != nil {
		note("recovered")
		record.RecoveredAt = time.Now()
	}
	_, wholeErr := AwaitWhole(ctx, r.Target)
	span.Recovered = time.Now()
	if p.Hold == nil && wholeErr == nil {
		note("recovered")
		record.RecoveredAt = span.Recovered
	}
	flowErr := r.Traffic.Flow(ctx, Calm)
	span.End = time.Now()
	flowErr = errors.Join(flowErr, r.Traffic.Caught(ctx))

	res.Undone, res.End, res.Events = record.RecoveredAt, span.End, r.Log.Events()
	res.Outage = probe.Outage(res.Events, span.Fault, span.End)
	res.Late = r.Traffic.Lateness(span.Fault, span.End)
	res.Phases = probe.Phases(res.Events, probe.Hit{At: res.At, Until: span.End, Active: res.Active, Service: r.Target.ActiveService})
	record.OutageMS, record.Phases = res.Outage.MS(), res.Phases
	r.Fault(record)
	measure(r, n, res, probe.Measure(res.Events, span.Fault, span.End))
	for _, a := range r.Traffic.Latencies(span) {
		if a.During.Count > 0 {
			r.Measure(Name(r, n, fmt.Sprintf("%s_%s_p99_ms", a.Series.Kind, a.Series.Route)), math.Round(a.During.P99))
		}
	}
	for what, value := range probe.Route(res.Events, r.Target.ActiveService, res.At, res.End).Measurements() {
		r.Measure(Name(r, n, what), value)
	}
	switch {
	case verdict != nil:
		return res, verdict
	case wholeErr != nil:
		return res, fmt.Errorf("%s after %s of %s %w", WholeTimeout, res.Kind, res.Target, wholeErr)
	case flowErr != nil:
		return res, r.CannotTell(flowErr)
	}
	// Too little traffic could not have seen an outage.
	return res, r.CannotTell(probe.CheckTraffic(res.Events, span, r.Traffic.Rate()))
}

// Note puts a step in the life of a fault into the timeline.
func Note(r *conformance.Case, id string, f fault.Fault, state string) {
	r.Log.Append(timeline.Event{Kind: timeline.Fault, Subject: id, Value: state, Detail: f.Kind() + " of " + f.Target()})
}

// Undo returns the function that undoes a fault, once. However the check ends,
// it is undone.
func Undo(r *conformance.Case, injected fault.Injected) func(context.Context) error {
	undone := false
	undo := func(ctx context.Context) error {
		if undone {
			return nil
		}
		err := injected.Recover(ctx)
		undone = err == nil // else it is tried again when the check is over
		return err
	}
	r.Defer(undo)
	return undo
}

// Witness waits for the proof that a fault hit, as long as the fault asks for.
func Witness(ctx context.Context, injected fault.Injected) (fault.Witness, error) {
	patience := witnessTimeout
	if p, ok := injected.(fault.Patient); ok {
		patience = max(patience, p.Patience())
	}
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	return injected.Witness(ctx)
}

// AwaitWhole waits until Vault is whole, for WholeTimeout at most.
func AwaitWhole(ctx context.Context, t *target.Target) ([]target.PodState, error) {
	ctx, cancel := context.WithTimeout(ctx, WholeTimeout)
	defer cancel()
	return t.AwaitWhole(ctx)
}

// measure puts the numbers of a trial into the report.
func measure(r *conformance.Case, n int, res Result, a probe.Availability) {
	name := func(what string) string { return Name(r, n, what) }
	r.Measure(name("outage_ms"), math.Round(res.Outage.MS()))
	r.Measure(name("prober_late_ms"), float64(res.Late.Milliseconds()))
	r.Measure(name("failed_operations_total"), float64(a.Total-a.OK))
	r.Measure(name("operations_total"), float64(a.Total))
}

// Name is what a measurement of the n-th trial is called.
func Name(r *conformance.Case, n int, what string) string {
	if r.Trials == 1 {
		return what
	}
	return fmt.Sprintf("trial%d_%s", n, what)
}

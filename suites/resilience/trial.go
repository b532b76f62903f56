package resilience

import (
	"context"
	"errors"
	"fmt"
	"math"
	"slices"
	"time"

	"github.com/vaultproof/vaultproof/pkg/conformance"
	"github.com/vaultproof/vaultproof/pkg/fault"
	"github.com/vaultproof/vaultproof/pkg/probe"
	"github.com/vaultproof/vaultproof/pkg/report"
	"github.com/vaultproof/vaultproof/pkg/target"
	"github.com/vaultproof/vaultproof/pkg/timeline"
)

const (
	// calm is how long the load flows before a fault and after its end, to
	// show that what is seen in between comes from the fault.
	calm = 5 * time.Second
	// witnessTimeout is how long a fault may take to show, unless it asks for
	// more patience; Chaos Mesh needs a second.
	witnessTimeout = 45 * time.Second
	// wholeTimeout is how long Vault may take to be whole again: a restart of a
	// container behind the kubelet's back-off, and its unsealing.
	wholeTimeout = 2 * time.Minute
	// trialTimeout bounds one injection from the first look to the last.
	trialTimeout = 5 * time.Minute
)

// plan is one way of breaking Vault.
type plan struct {
	// make chooses the fault, given how Vault is before it.
	make func(states []target.PodState, active target.PodState) (fault.Fault, error)
	// hold, if set, is called while the fault lasts, after its witness; when
	// it returns the fault is undone.
	hold func(ctx context.Context, hit struck) error
}

// struck is a fault that has hit.
type struck struct {
	trial  int
	at     time.Time
	active string // the pod that was active then
}

// result is what a trial showed.
type result struct {
	id     string // of the fault, RES-01#1
	kind   string
	target string
	active string
	at     time.Time
	outage probe.Window
	phases report.Phases
	events []timeline.Event // of the whole run up to its end
	end    time.Time
}

// run injects a fault once, with load before, during and after it, and records
// it in the report. Its error is the verdict if the trial itself shows one: no
// witness, too little traffic, no recovery.
func run(ctx context.Context, r *conformance.Case, n int, p plan) (result, error) {
	ctx, cancel := context.WithTimeout(ctx, trialTimeout)
	defer cancel()
	res := result{id: fmt.Sprintf("%s#%d", r.Check.ID, n)}
	states, err := awaitWhole(ctx, r.Target)
	if err != nil {
		return res, r.Inconclusive("Vault was not whole before the fault: %w", err)
	}
	active, err := target.OnlyActive(states)
	if err != nil {
		return res, r.CannotTell(err)
	}
	res.active = active.Pod.Name
	broken, err := p.make(states, active)
	if err != nil {
		return res, err
	}
	res.kind, res.target = broken.Kind(), broken.Target()

	span := probe.Span{Start: time.Now()}
	// A moment that the seed decides, so that faults do not all hit in step
	// with some timer of Vault.
	jitter := time.Duration(r.Rand.Int64N(int64(time.Second)))
	if err := r.Traffic.Flow(ctx, calm+jitter); err != nil {
		return res, r.CannotTell(err)
	}
	note := func(state string) {
		r.Log.Append(timeline.Event{Kind: timeline.Fault, Subject: res.id, Value: state, Detail: res.kind + " of " + res.target})
	}
	note("injecting")
	span.Fault = time.Now()
	res.at = span.Fault
	injected, err := broken.Inject(ctx)
	if err != nil {
		if !errors.Is(err, fault.ErrUnavailable) {
			err = r.CannotTell(err)
		}
		return res, err
	}
	note("injected")
	undone := false
	undo := func(ctx context.Context) error {
		if undone {
			return nil
		}
		err := injected.Recover(ctx)
		undone = err == nil // else it is tried again when the check is over
		return err
	}
	// However the check ends, the fault is undone.
	r.Defer(undo)

	record := report.Fault{
		ID: res.id, Check: r.Check.ID, Kind: res.kind, Target: res.target, InjectedAt: res.at,
		BudgetMS: float64(r.Budget.Milliseconds()),
	}
	verdict := func() error {
		patience := witnessTimeout
		if p, ok := injected.(fault.Patient); ok {
			patience = max(patience, p.Patience())
		}
		witnessCtx, cancel := context.WithTimeout(ctx, patience)
		defer cancel()
		witness, err := injected.Witness(witnessCtx)
		if err != nil {
			note("no-witness")
			return err
		}
		note("witnessed")
		record.Witness, record.WitnessedAt = witness.Evidence, witness.At
		if p.hold == nil {
			return nil
		}
		return p.hold(ctx, struck{trial: n, at: res.at, active: res.active})
	}()
	if err := undo(ctx); err != nil {
		r.Fault(record)
		return res, r.Inconclusive("%s was not undone: %w", res.id, err)
	}
	if p.hold != nil {
		note("recovered")
		record.RecoveredAt = time.Now()
	}
	_, wholeErr := awaitWhole(ctx, r.Target)
	span.Recovered = time.Now()
	if p.hold == nil && wholeErr == nil {
		note("recovered")
		record.RecoveredAt = span.Recovered
	}
	flowErr := r.Traffic.Flow(ctx, calm)
	span.End = time.Now()
	flowErr = errors.Join(flowErr, r.Traffic.Caught(ctx))

	res.end, res.events = span.End, r.Log.Events()
	res.outage = probe.Outage(res.events, span.Fault, span.End)
	res.phases = probe.Phases(res.events, probe.Hit{At: res.at, Until: span.End, Active: res.active, Service: r.Target.ActiveService})
	record.OutageMS, record.Phases = res.outage.MS(), res.phases
	r.Fault(record)
	measure(r, n, res, probe.Measure(res.events, span.Fault, span.End))
	switch {
	case verdict != nil:
		return res, verdict
	case wholeErr != nil:
		return res, fmt.Errorf("%s after %s of %s %w", wholeTimeout, res.kind, res.target, wholeErr)
	case flowErr != nil:
		return res, r.CannotTell(flowErr)
	}
	// Too little traffic could not have seen an outage.
	return res, r.CannotTell(probe.CheckTraffic(res.events, span, r.Traffic.Rate()))
}

func awaitWhole(ctx context.Context, t *target.Target) ([]target.PodState, error) {
	ctx, cancel := context.WithTimeout(ctx, wholeTimeout)
	defer cancel()
	return t.AwaitWhole(ctx)
}

// measure puts the numbers of a trial into the report.
func measure(r *conformance.Case, n int, res result, a probe.Availability) {
	name := func(what string) string {
		if r.Trials == 1 {
			return what
		}
		return fmt.Sprintf("trial%d_%s", n, what)
	}
	r.Measure(name("outage_ms"), math.Round(res.outage.MS()))
	r.Measure(name("failed_operations_total"), float64(a.Total-a.OK))
	r.Measure(name("operations_total"), float64(a.Total))
}

// trials runs the plan as often as asked for and judges the outages together.
func trials(ctx context.Context, r *conformance.Case, p plan, judge func(result) error) error {
	var results []result
	for n := 1; n <= r.Trials; n++ {
		res, err := run(ctx, r, n, p)
		if err != nil {
			return err
		}
		if err := judge(res); err != nil {
			return err
		}
		results = append(results, res)
	}
	return withinBudget(results, r.Budget)
}

// withinBudget judges the 95th percentile of the outages; of fewer than twenty
// that is the longest.
func withinBudget(results []result, budget time.Duration) error {
	if len(results) == 0 {
		return errors.New("no trial was made")
	}
	if budget <= 0 {
		return errors.New("no budget is set for the outage")
	}
	sorted := slices.SortedFunc(slices.Values(results), func(a, b result) int { return int(a.outage.Length() - b.outage.Length()) })
	worst := sorted[int(math.Ceil(0.95*float64(len(sorted))))-1]
	for _, res := range results {
		if res.outage.Open {
			return fmt.Errorf("after %s (%s of %s) clients were still failing when the check ended, %s after the first failure at %s (%s)",
				res.id, res.kind, res.target, round(res.outage.Length()), clock(res.outage.Start), res.outage.FirstError)
		}
	}
	if worst.outage.Length() <= budget {
		return nil
	}
	return fmt.Errorf("after %s (%s of %s) no operation succeeded for good from %s on for %s, budget %s; %d failed, the first with: %s%s",
		worst.id, worst.kind, worst.target, clock(worst.outage.Start), round(worst.outage.Length()), budget,
		worst.outage.Failed, worst.outage.FirstError, where(worst.phases))
}

// where says in which phase the time went.
func where(p report.Phases) string {
	text := ""
	for _, phase := range []struct {
		name string
		at   *float64
	}{
		{"detected", p.Detected}, {"elected", p.Elected}, {"labelled", p.Labelled}, {"routed", p.Routed}, {"first write", p.FirstWrite},
	} {
		if phase.at == nil {
			text += ", " + phase.name + " never seen"
			continue
		}
		text += fmt.Sprintf(", %s at %.0f ms", phase.name, *phase.at)
	}
	return "; after the injection" + text[1:]
}

func round(d time.Duration) time.Duration { return d.Round(10 * time.Millisecond) }

func clock(t time.Time) string { return t.UTC().Format("15:04:05.000") }

package trial

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/vaultproof/vaultproof/pkg/conformance"
	"github.com/vaultproof/vaultproof/pkg/fault"
	"github.com/vaultproof/vaultproof/pkg/probe"
	"github.com/vaultproof/vaultproof/pkg/report"
)

// Blow is a fault in the hands of a spec that has its own way of looking at it, where
// a whole trial would be too much. It is in the timeline and in the report as others
// are.
type Blow struct {
	r      *conformance.Case
	fault  fault.Fault
	hit    fault.Injected
	undo   func(context.Context) error
	record report.Fault
}

// Strike injects the n-th fault of a check. However the check ends, it is undone. Its
// error is the verdict.
func Strike(ctx context.Context, r *conformance.Case, n int, f fault.Fault) (*Blow, error) {
	b := &Blow{r: r, fault: f, record: report.Fault{
		ID: fmt.Sprintf("%s#%d", r.Check.ID, n), Check: r.Check.ID, Kind: f.Kind(), Target: f.Target(), InjectedAt: time.Now(),
	}}
	b.note("injecting")
	hit, err := f.Inject(ctx)
	if err != nil {
		if !errors.Is(err, fault.ErrUnavailable) {
			err = r.CannotTell(err)
		}
		return nil, err
	}
	b.note("injected")
	b.hit, b.undo = hit, Undo(r, hit)
	return b, nil
}

func (b *Blow) note(state string) { Note(b.r, b.record.ID, b.fault, state) }

// At is when the fault was injected.
func (b *Blow) At() time.Time { return b.record.InjectedAt }

// Witness waits for the proof that it hit. Its error is the verdict.
func (b *Blow) Witness(ctx context.Context) error {
	witness, err := Witness(ctx, b.hit)
	if err != nil {
		b.note("no-witness")
		return err
	}
	b.note("witnessed")
	b.record.Witness, b.record.WitnessedAt = witness.Evidence, witness.At
	return nil
}

// Undo undoes it. Its error is the verdict.
func (b *Blow) Undo(ctx context.Context) error {
	if err := b.undo(ctx); err != nil {
		return b.r.Inconclusive("%s was not undone: %w", b.record.ID, err)
	}
	b.note("recovered")
	b.record.RecoveredAt = time.Now()
	return nil
}

// Report puts the fault into the report, with what clients suffered if there is load.
// Defer it once the fault is injected.
func (b *Blow) Report(ctx context.Context) {
	if b.r.Traffic != nil && b.r.Traffic.Caught(ctx) == nil {
		outage := probe.Outage(b.r.Log.Events(), b.record.InjectedAt, time.Now())
		b.record.OutageMS = outage.MS()
	}
	b.r.Fault(b.record)
}

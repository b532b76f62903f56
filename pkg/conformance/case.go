package conformance

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"runtime/debug"
	"sync"
	"time"

	"github.com/vaultproof/vaultproof/pkg/fault"
	"github.com/vaultproof/vaultproof/pkg/leak"
	"github.com/vaultproof/vaultproof/pkg/report"
	"github.com/vaultproof/vaultproof/pkg/target"
	"github.com/vaultproof/vaultproof/pkg/timeline"
)

// Case is what one check gets to work with.
type Case struct {
	Check  Check
	Target *target.Target
	Log    *timeline.Log
	// Rand is seeded by the run's seed and the check's id alone, so that a
	// check draws the same numbers whatever ran before it.
	Rand *rand.Rand
	// Traffic is the load that never stops. It is nil in a check that injects
	// no fault.
	Traffic *Traffic
	// Faults is what faults are made with.
	Faults *fault.Env
	// CustodySwitch makes custody fail; nil if this target's cannot be made to.
	CustodySwitch fault.CustodySwitch
	// Power turns nodes off and on; nil if nobody here can.
	Power fault.NodePower
	// Tenants says where tenants are; it has no Kubeconfig if nobody told.
	Tenants Tenants
	// Trials is how often each fault is to be injected.
	Trials int
	// Walk is how long a random walk through faults goes on.
	Walk time.Duration
	// Budget is how long an outage may last; 0 if none is set for the check.
	Budget time.Duration
	// ID of the run, a label on all that it creates; Dir is its directory.
	ID, Dir string

	session *session
	later   func(func(context.Context) error) // what Defer does

	mu           sync.Mutex
	measurements map[string]float64
}

// Verdicts on a check other than passed and failed are errors of these types.
type (
	skipped      struct{ reason string }
	inconclusive struct{ cause error }
)

func (e skipped) Error() string      { return e.reason }
func (e inconclusive) Error() string { return e.cause.Error() }
func (e inconclusive) Unwrap() error { return e.cause }

// Skip is what a check returns if the target does not have what it judges.
func (r *Case) Skip(format string, args ...any) error {
	return skipped{fmt.Sprintf(format, args...)}
}

// Inconclusive is what a check returns if it could not tell.
func (r *Case) Inconclusive(format string, args ...any) error {
	return inconclusive{fmt.Errorf(format, args...)}
}

// CannotTell is what a check returns if it failed to observe, as opposed to
// observing what must not be. It returns nil for nil.
func (r *Case) CannotTell(err error) error {
	if err == nil {
		return nil
	}
	return inconclusive{err}
}

// Measure records a number for the report. The unit ends the name: outage_ms.
func (r *Case) Measure(name string, value float64) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.measurements[name] = value
}

// Fault records a fault for the report.
func (r *Case) Fault(f report.Fault) { r.session.addFault(f) }

// AmendFaults lets a check that judges the whole run, such as the loss of
// writes, add what it found to the faults recorded so far.
func (r *Case) AmendFaults(edit func(*report.Fault)) { r.session.amendFaults(edit) }

// Note writes a remark into the timeline.
func (r *Case) Note(format string, args ...any) {
	r.Log.Append(timeline.Event{Kind: timeline.Note, Subject: r.Check.ID, Value: fmt.Sprintf(format, args...)})
}

// Defer has f run when the check is over, however it ends, with a minute for
// it. Its error is reported as one of the infrastructure.
func (r *Case) Defer(f func(context.Context) error) {
	r.later(func(ctx context.Context) error {
		err := f(ctx)
		if err != nil {
			r.session.breakDown(fmt.Sprintf("cleaning up after %s: %v", r.Check.ID, err))
		}
		return err
	})
}

// Scanner looks for every secret of the target that custody holds. It has
// passed its positive control.
func (r *Case) Scanner(ctx context.Context) (*leak.Scanner, error) {
	needles, err := r.Target.Needles(ctx)
	if err != nil {
		return nil, err
	}
	scanner, err := leak.New(needles...)
	if err != nil {
		return nil, fmt.Errorf("preparing to look for secrets: %w", err)
	}
	if err := scanner.SelfTest(); err != nil {
		return nil, fmt.Errorf("the scanner failed its positive control: %w", err)
	}
	return scanner, nil
}

// guard turns a panic of a check into an error: a check that breaks says
// nothing about Vault, and must not take the report with it.
func (s *session) guard(f func() error) (err error) {
	defer func() {
		if p := recover(); p != nil {
			err = inconclusive{fmt.Errorf("the check itself broke: %v\n%s", p, debug.Stack())}
		}
	}()
	return f()
}

// outcome sorts the error of a check.
func outcome(err error) (report.Status, string) {
	var skip skipped
	var unsure inconclusive
	switch {
	case err == nil:
		return report.Passed, ""
	case errors.As(err, &skip), errors.Is(err, fault.ErrUnavailable), errors.Is(err, target.ErrNoCustody):
		return report.Skipped, err.Error()
	case errors.As(err, &unsure), errors.Is(err, fault.ErrNoWitness):
		return report.Inconclusive, err.Error()
	default:
		return report.Failed, err.Error()
	}
}

// Package trial breaks Vault once, or many times, in one way while the load
// flows, and records what clients, labels and endpoints showed. What it means
// is judged by the specs that plan the trials.
package trial

import (
	"context"
	"time"

	"github.com/vaultproof/vaultproof/pkg/fault"
	"github.com/vaultproof/vaultproof/pkg/probe"
	"github.com/vaultproof/vaultproof/pkg/report"
	"github.com/vaultproof/vaultproof/pkg/target"
	"github.com/vaultproof/vaultproof/pkg/timeline"
)

const (
	// Calm is how long the load flows before a fault and after its end, to
	// show that what is seen in between comes from the fault.
	Calm = 5 * time.Second
	// witnessTimeout is how long a fault may take to show, unless it asks for
	// more patience; Chaos Mesh needs a second.
	witnessTimeout = 45 * time.Second
	// WholeTimeout is how long Vault may take to be whole again: a restart of a
	// container behind the kubelet's back-off, and its unsealing.
	WholeTimeout = 2 * time.Minute
	// trialTimeout bounds one injection from the first look to the last.
	trialTimeout = 6 * time.Minute
)

// Plan is one way of breaking Vault.
type Plan struct {
	// Make chooses the fault, given how Vault is before it.
	Make func(ctx context.Context, states []target.PodState, active target.PodState) (fault.Fault, error)
	// Hold, if set, is called while the fault lasts, after its witness; when
	// it returns the fault is undone.
	Hold func(ctx context.Context, hit Struck) error
	// Outage is how long clients may suffer, as the report shows it beside what
	// they did; 0 if the plan is about something else.
	Outage time.Duration
}

// Struck is a fault that has hit.
type Struck struct {
	Trial  int
	At     time.Time // of the injection
	Active string    // the pod that was active then
}

// Result is what a trial showed.
type Result struct {
	ID     string // of the fault, RES-01#1
	Kind   string
	Target string
	Active string    // the pod that was active before
	At     time.Time // of the injection
	Undone time.Time // when the fault was over; of one with nothing to undo, when Vault was whole
	End    time.Time
	Outage probe.Window
	Late   time.Duration // of the load's own operations, at most
	Phases report.Phases
	Events []timeline.Event // of the whole run up to End
}

// Elected is when another pod became active, as phases tell it; zero if none
// did.
func (r Result) Elected() time.Time { return r.phase(r.Phases.Elected) }

// Routed is when the Service had the new active pod alone; zero if never.
func (r Result) Routed() time.Time { return r.phase(r.Phases.Routed) }

func (r Result) phase(ms *float64) time.Time {
	if ms == nil {
		return time.Time{}
	}
	return r.At.Add(time.Duration(*ms * float64(time.Millisecond)))
}

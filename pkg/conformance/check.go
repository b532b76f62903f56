// Package conformance runs checks against a Vault on Kubernetes and turns what
// they saw into a report with a verdict.
//
// A check is one Ginkgo spec in an ordinary .go file, registered with It, so
// that any program can import the specs it wants and call Run. Profiles say
// which checks a purpose demands.
package conformance

import (
	"cmp"
	"fmt"
	"regexp"
	"slices"
	"time"

	"github.com/onsi/ginkgo/v2"
)

// Level says what a failed check means.
type Level string

// The levels. A MUST that fails, or is not proved, denies the certificate.
const (
	Must   Level = "MUST"
	Should Level = "SHOULD"
)

// Labels that tell checks which only look from those that break things.
const (
	// Conformance checks leave the target as it is, a restarted standby apart.
	Conformance = "conformance"
	// Chaos checks inject faults.
	Chaos = "chaos"
)

// Check is one entry of the catalogue: what must hold, and why.
type Check struct {
	// ID is permanent, AREA-NN.
	ID string
	// Area groups checks: bootstrap, isolation, tls, routing, ops, resilience…
	Area  string
	Level Level
	// Assertion is what must hold, in one sentence.
	Assertion string
	// Source is where the demand comes from.
	Source string
	// Observe says how the check looks.
	Observe string
	// Since is the first version of Vault that the demand applies to, such as
	// "2.0": an older one is not asked for it. Empty means all.
	Since string
	// Timeout ends a check that hangs. Zero means DefaultTimeout.
	Timeout time.Duration
	// Last marks a check that judges what all others did, or waits for what takes
	// longer than all others, and so runs after them.
	Last bool
	// Manner says what a Conformance check does to the target, and so what may
	// run beside it. Saying nothing is safe, and slow: the check runs alone.
	Manner Manner
}

// DefaultTimeout of a check: long enough for one pod to restart and unseal on a
// busy machine.
const DefaultTimeout = 3 * time.Minute

// Body is what a check does. It judges through r; an error is a failed check.
type Body func(ctx ginkgo.SpecContext, r *Case) error

// registered is a check as It was given it.
type registered struct {
	check Check
	kind  string
	body  Body
}

// name is that of its spec.
func (c registered) name() string { return c.check.ID + " " + c.check.Assertion }

var catalogue []registered

var (
	idForm      = regexp.MustCompile(`^[A-Z]{3,4}-[0-9]{2}$`)
	versionForm = regexp.MustCompile(`^[0-9]+\.[0-9]+$`)
)

// It registers a check as a spec with the labels id, area, level and kind
// (Conformance or Chaos). Call it from a package variable: var _ = It(…). A
// check that is not whole, or an id used twice, is a mistake of whoever wrote
// it and panics at start-up.
func It(check Check, kind string, body Body) bool {
	if err := check.validate(kind); err != nil {
		panic(err)
	}
	for _, c := range catalogue {
		if c.check.ID == check.ID {
			panic(fmt.Errorf("two specs claim the check %s", check.ID))
		}
	}
	one := registered{check: check, kind: kind, body: body}
	catalogue = append(catalogue, one)
	spec := []any{
		ginkgo.Label(check.ID, check.Area, string(check.Level), kind),
		ginkgo.SpecPriority(one.priority()),
		ginkgo.Offset(1),
		func(ctx ginkgo.SpecContext) { current.perform(ctx, one) },
	}
	if check.Manner == Disturbs { // the time of the others begins when they do, not when their spec does
		spec = append(spec, ginkgo.NodeTimeout(check.life()))
	}
	return ginkgo.It(one.name(), spec...)
}

// life is how long the check may take.
func (c Check) life() time.Duration { return cmp.Or(c.Timeout, DefaultTimeout) }

func (c Check) validate(kind string) error {
	switch {
	case !idForm.MatchString(c.ID):
		return fmt.Errorf("%q is no check id such as ACT-01", c.ID)
	case c.Area == "" || c.Assertion == "" || c.Source == "" || c.Observe == "":
		return fmt.Errorf("check %s lacks its area, assertion, source or way to observe", c.ID)
	case c.Level != Must && c.Level != Should:
		return fmt.Errorf("check %s has level %q, not MUST or SHOULD", c.ID, c.Level)
	case c.Since != "" && !versionForm.MatchString(c.Since):
		return fmt.Errorf("check %s applies since %q, which is no version such as 2.0", c.ID, c.Since)
	case kind != Conformance && kind != Chaos:
		return fmt.Errorf("check %s is of kind %q, not %s or %s", c.ID, kind, Conformance, Chaos)
	case c.Manner < Disturbs || c.Manner > Apart:
		return fmt.Errorf("check %s is of manner %d, which is none", c.ID, c.Manner)
	case c.Manner != Disturbs && (kind == Chaos || c.Last):
		return fmt.Errorf("check %s injects faults or judges the whole run, so nothing may run beside it: leave out its Manner", c.ID)
	}
	return nil
}

// Checks returns all registered checks in the order of their ids.
func Checks() []Check {
	checks := make([]Check, 0, len(catalogue))
	for _, c := range catalogue {
		checks = append(checks, c.check)
	}
	slices.SortFunc(checks, func(a, b Check) int { return cmp.Compare(a.ID, b.ID) })
	return checks
}

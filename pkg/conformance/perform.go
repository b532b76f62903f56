package conformance

import (
	"context"
	"fmt"
	"hash/fnv"
	"maps"
	"math/rand/v2"
	"time"

	"github.com/onsi/ginkgo/v2"
	"github.com/onsi/ginkgo/v2/types"

	"github.com/vaultproof/vaultproof/pkg/report"
)

// deafAfter is how long a check that runs beside others may go on after it was
// told to end: less than Ginkgo waits for its spec, 30 s.
const deafAfter = 20 * time.Second

// perform is the body of a spec: it sees to it that the check runs, and tells
// Ginkgo how it ended.
func (s *session) perform(ctx ginkgo.SpecContext, c registered) {
	if s == nil {
		ginkgo.Skip("no target is set up: start the specs with conformance.Run")
	}
	s.crew.makeWay(ctx, c)
	if !s.crew.await(ctx, c) {
		s.record(s.judge(ctx, c, s.newCase(c.check, afterSpec)))
	}
	switch result, began := s.result(c.check.ID); {
	case !began:
		ginkgo.Skip("it did not begin: the run was cut short")
	case result.Status == report.Failed:
		ginkgo.Fail(result.Reason)
	case result.Status != report.Passed:
		ginkgo.Skip(string(result.Status) + ": " + result.Reason)
	}
}

// performBeside judges a check that is one of the crew. It has its own time, and
// cleans up after itself.
func (s *session) performBeside(ctx context.Context, c registered) {
	started := time.Now()
	ctx, cancel := context.WithTimeoutCause(ctx, c.check.life(), fmt.Errorf("its time of %s was over", c.check.life()))
	defer cancel()
	undo := &cleanUps{ctx: context.WithoutCancel(ctx)}
	defer undo.run()
	r := s.newCase(c.check, undo.add)
	ended := make(chan report.Check, 1)
	go func() { ended <- s.judge(besideSpec{ctx}, c, r) }()
	select {
	case result := <-ended:
		s.record(result)
		return
	case <-ctx.Done():
	}
	limit := time.NewTimer(s.deafAfter)
	defer limit.Stop()
	select {
	case result := <-ended:
		s.record(result)
	case <-limit.C: // it is left to itself
		s.record(r.sum(inconclusive{fmt.Errorf("the check was told to end (%w) and did not within %s", context.Cause(ctx), s.deafAfter)}, time.Since(started)))
	}
}

// newCase is what a check works with; later puts off what is to be done at its
// end.
func (s *session) newCase(check Check, later func(func(context.Context) error)) *Case {
	h := fnv.New64a()
	_, _ = h.Write([]byte(check.ID))
	return &Case{
		Check: check, Target: s.target, Log: s.log, Trials: s.opts.Trials, Walk: s.opts.Walk, Faults: s.faults,
		Budget: s.budgets[check.ID], ID: s.runID, Dir: s.dir, session: s, later: later,
		CustodySwitch: s.opts.CustodySwitch, Power: s.opts.Power, Tenants: s.opts.Tenants,
		Rand:         rand.New(rand.NewPCG(uint64(s.seed), h.Sum64())),
		measurements: map[string]float64{},
	}
}

// judge runs the body of a check and makes its result of what it says.
func (s *session) judge(ctx ginkgo.SpecContext, c registered, r *Case) report.Check {
	started := time.Now()
	applies, applyErr := c.check.appliesTo(s.about.VaultVersion)
	err := s.guard(func() error {
		if applyErr != nil {
			return inconclusive{applyErr}
		} else if !applies {
			return r.Skip("demanded from Vault %s on, and this is %s", c.check.Since, s.about.VaultVersion)
		}
		if c.check.Last { // it judges the whole run, what the run leaves included
			s.bundleOnce.Do(func() { s.bundleErr = s.bundle(ctx) })
			if s.bundleErr != nil {
				return inconclusive{fmt.Errorf("collecting the bundle: %w", s.bundleErr)}
			}
		}
		if c.kind == Chaos {
			traffic, err := s.startTraffic(ctx)
			if err != nil {
				return inconclusive{fmt.Errorf("no traffic to see a fault by: %w", err)}
			}
			r.Traffic = traffic
		}
		return c.body(ctx, r)
	})
	if err != nil && ctx.Err() != nil {
		err = inconclusive{fmt.Errorf("the check was ended after %s (%w): %w", time.Since(started).Round(time.Second), context.Cause(ctx), err)}
	}
	result := r.sum(err, time.Since(started))
	result.Inapplicable = applyErr == nil && !applies
	if result.Status == report.Failed {
		// What looks like a broken promise may be a broken cluster.
		if apiErr := s.target.Reach(context.WithoutCancel(ctx)); apiErr != nil {
			result.Status = report.Inconclusive
			s.breakDown(fmt.Sprintf("during %s: %v", c.check.ID, apiErr))
		}
	}
	return result
}

// sum makes the result of a check of the error that it ended with.
func (r *Case) sum(err error, took time.Duration) report.Check {
	status, reason := outcome(err)
	r.mu.Lock()
	defer r.mu.Unlock()
	return report.Check{
		ID: r.Check.ID, Area: r.Check.Area, Level: string(r.Check.Level), Assertion: r.Check.Assertion, Source: r.Check.Source,
		Status: status, Reason: reason, Seconds: took.Seconds(), Measurements: maps.Clone(r.measurements),
	}
}

// afterSpec has Ginkgo call f when the spec is over, even if its body never ends.
func afterSpec(f func(context.Context) error) {
	ginkgo.DeferCleanup(func(ctx ginkgo.SpecContext) {
		_ = f(ctx) // it has been reported
	}, ginkgo.NodeTimeout(cleanUpTimeout))
}

// besideSpec is the context of a body that runs outside of its spec.
type besideSpec struct{ context.Context }

// SpecReport is empty: the spec that is current is another one.
func (besideSpec) SpecReport() types.SpecReport { return types.SpecReport{} }

// AttachProgressReporter does nothing, for the same reason.
func (besideSpec) AttachProgressReporter(func() string) func() { return func() {} }

// WrappedContext is the context itself.
func (b besideSpec) WrappedContext() context.Context { return b.Context }

package conformance

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"time"

	"github.com/vaultproof/vaultproof/pkg/baseline"
	"github.com/vaultproof/vaultproof/pkg/report"
)

// finishTimeout bounds what comes after the last check: taking down what still
// runs, what checks shared, the load, the bundle, the report.
const finishTimeout = 5 * time.Minute

// finish writes down the run, however far it got, and returns its verdict.
func (s *session) finish(ctx context.Context) (report.Verdict, error) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), finishTimeout)
	defer cancel()
	var errs []error
	if err := s.crew.close(ctx); err != nil {
		slog.Warn("a check was not taken down as it should be", "error", err.Error())
	}
	if err := s.shared.clear(ctx); err != nil {
		s.breakDown("cleaning up after all checks: " + err.Error())
	}
	if err := s.stopTraffic(ctx); err != nil {
		slog.Warn("the load was not taken down as it should be", "error", err.Error())
	}
	if err := s.stopMetrics(ctx); err != nil {
		slog.Warn("the recording of metrics was not taken down as it should be", "error", err.Error())
	}
	if s.target != nil {
		if err := s.bundle(ctx); err != nil {
			errs = append(errs, fmt.Errorf("collecting the bundle: %w", err))
		}
	}
	errs = append(errs, s.log.Close(), s.journal.Close())
	r := s.report(time.Now())
	if s.baseline != nil {
		r.Baseline = baseline.Compare(r, s.baseline)
	}
	report.Judge(r, s.required)
	errs = append(errs,
		report.Write(s.dir, r, s.log.Events()),
		report.Link(s.opts.Artifacts, s.runID),
		report.Summary(s.opts.Out, r))
	if err := errors.Join(errs...); err != nil {
		return r.Verdict, fmt.Errorf("writing down the run in %s: %w", s.dir, err)
	}
	return r.Verdict, nil
}

// report assembles the results. Every check that was demanded or chosen is in
// it, with the reason if it did not run.
func (s *session) report(ended time.Time) *report.Report {
	s.mu.Lock()
	defer s.mu.Unlock()
	r := &report.Report{
		Schema: report.Schema, RunID: s.runID, Seed: s.seed, Started: s.started, Ended: ended,
		Target: s.about, Profile: s.opts.Profile, Faults: slices.Clone(s.injected),
		Broken: strings.Join(s.broken, "; "), Interrupted: s.interrupted,
	}
	for _, c := range Checks() {
		result, ran := s.results[c.ID]
		selected := slices.Contains(s.selected, c.ID)
		switch {
		case ran:
			r.Checks = append(r.Checks, result)
		case selected || slices.Contains(s.required, c.ID):
			r.Checks = append(r.Checks, report.Check{
				ID: c.ID, Area: c.Area, Level: string(c.Level), Assertion: c.Assertion, Source: c.Source,
				Status: report.Skipped, Reason: s.whyNot(selected),
			})
		}
	}
	slices.SortStableFunc(r.Checks, func(a, b report.Check) int { return cmp.Compare(a.ID, b.ID) })
	return r
}

// whyNot says why a check has no result.
func (s *session) whyNot(selected bool) string {
	switch {
	case !selected:
		return "left out by -run-checks"
	case len(s.broken) > 0:
		return "did not run: " + s.broken[0]
	case s.interrupted != "":
		return "did not run, or did not end: " + s.interrupted
	default:
		return "did not end"
	}
}

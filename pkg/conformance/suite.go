package conformance

import (
	"context"
	"fmt"
	"io"
	"os/signal"
	"slices"
	"strings"
	"syscall"
	"testing"
	"text/tabwriter"
	"time"

	"github.com/onsi/ginkgo/v2"
	"github.com/onsi/ginkgo/v2/types"

	"github.com/vaultproof/vaultproof/pkg/report"
)

// reserve is kept back from the deadline of "go test -timeout", which ends the
// process without asking: enough to clean up and write the report.
const reserve = finishTimeout + 30*time.Second

// lastVerdict is that of the run in this process, for Main.
var lastVerdict report.Verdict

// Run runs the checks that opts choose, writes the report to
// <artifacts>/<run id>/ and fails t unless the verdict is certified. The report
// is written whatever happens: a failed set-up, a panic, an interrupt.
//
// A process can call it once, because Ginkgo can run once.
func Run(t *testing.T, opts Options) {
	t.Helper()
	if opts.List {
		if err := list(opts.Out, opts.RunChecks); err != nil {
			t.Fatal(err)
		}
		return
	}
	s, err := newSession(opts)
	if err != nil {
		lastVerdict = report.Infrastructure
		t.Fatal(err)
	}
	verdict, err := s.run(t)
	lastVerdict = verdict
	if err != nil {
		t.Error(err)
	}
	if verdict != report.Certified {
		t.Errorf("verdict: %s", verdict)
	}
}

// Main is for a TestMain that only runs a suite. It returns the exit code: that
// of the verdict if there is one, so that a compiled suite can gate a release.
// ("go test" itself makes 1 of any that is not 0.)
func Main(m *testing.M) int {
	code := m.Run()
	if lastVerdict == "" || lastVerdict == report.Certified && code != 0 {
		return code
	}
	return report.ExitCode(lastVerdict)
}

func (s *session) run(t *testing.T) (verdict report.Verdict, err error) {
	defer func() {
		if p := recover(); p != nil {
			s.breakDown(fmt.Sprintf("the suite itself broke: %v", p))
		}
		verdict, err = s.finish(t.Context())
	}()
	if err := s.prepare(t.Context()); err != nil {
		s.breakDown(err.Error())
		return "", nil
	}
	current = s
	suite, reporter := s.ginkgoConfig(t)
	name := "vaultproof, profile " + s.opts.Profile
	chosen, err := members(s.selected, name, suite)
	if err != nil {
		s.breakDown(err.Error())
		return "", nil
	}
	s.crew = newCrew(t.Context(), chosen, s.performBeside)
	ginkgo.ReportAfterSuite("how the run ended", func(r types.Report) { s.ended(r) })
	// Each check has its own verdict, so Ginkgo's is not asked for.
	ginkgo.RunSpecs(quiet{}, name, suite, reporter)
	return "", nil
}

// prepare sets up under an own signal handler; Ginkgo installs its own later.
func (s *session) prepare(ctx context.Context) error {
	ctx, stop := signal.NotifyContext(ctx, syscall.SIGINT, syscall.SIGTERM)
	defer stop()
	err := s.setUp(ctx)
	if ctx.Err() != nil {
		s.interrupted = "a signal ended the run while it was being set up"
	}
	return err
}

// ended notes whether the run was cut short.
func (s *session) ended(r types.Report) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, reason := range r.SpecialSuiteFailureReasons {
		lower := strings.ToLower(reason)
		if strings.Contains(lower, "interrupt") || strings.Contains(lower, "timeout") || strings.Contains(lower, "timed out") {
			s.interrupted = "the run was cut short: " + reason
		}
	}
}

func (s *session) ginkgoConfig(t *testing.T) (types.SuiteConfig, types.ReporterConfig) {
	suite, reporter := ginkgo.GinkgoConfiguration()
	suite.RandomSeed = s.seed
	suite.LabelFilter = strings.Join(s.selected, " || ")
	suite.Timeout = 12 * time.Hour
	if deadline, ok := t.Deadline(); ok {
		suite.Timeout = max(time.Until(deadline)-reserve, time.Minute)
	}
	reporter.NoColor = true
	reporter.Succinct = true
	return suite, reporter
}

// quiet takes Ginkgo's wish to fail the test: the verdict does that, and a
// failed SHOULD does not.
type quiet struct{}

func (quiet) Fail() {}

// list prints the catalogue that is compiled in, or the part of it that the globs
// of -run-checks name.
func list(w io.Writer, globs []string) error {
	ids, err := chosen(idsOf(Checks()), globs, Checks())
	if err != nil {
		return err
	}
	out := tabwriter.NewWriter(w, 0, 4, 2, ' ', 0)
	if _, err := fmt.Fprintln(out, "ID\tLEVEL\tAREA\tASSERTION"); err != nil {
		return fmt.Errorf("listing the checks: %w", err)
	}
	for _, c := range Checks() {
		if !slices.Contains(ids, c.ID) {
			continue
		}
		if _, err := fmt.Fprintf(out, "%s\t%s\t%s\t%s\n", c.ID, c.Level, c.Area, c.Assertion); err != nil {
			return fmt.Errorf("listing the checks: %w", err)
		}
	}
	if err := out.Flush(); err != nil {
		return fmt.Errorf("listing the checks: %w", err)
	}
	return nil
}

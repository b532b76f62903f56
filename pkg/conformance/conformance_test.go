package conformance

import (
	"bytes"
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/vaultproof/vaultproof/pkg/fault"
	"github.com/vaultproof/vaultproof/pkg/leak"
	"github.com/vaultproof/vaultproof/pkg/report"
	"github.com/vaultproof/vaultproof/pkg/target"
	"github.com/vaultproof/vaultproof/pkg/timeline"
)

func good() Check {
	return Check{ID: "ACT-01", Area: "routing", Level: Must, Assertion: "a", Source: "s", Observe: "o"}
}

func TestValidateRefusesHalfACheck(t *testing.T) {
	if err := good().validate(Chaos); err != nil {
		t.Fatal(err)
	}
	for name, edit := range map[string]func(*Check){
		"no id":        func(c *Check) { c.ID = "act1" },
		"no area":      func(c *Check) { c.Area = "" },
		"no level":     func(c *Check) { c.Level = "MAY" },
		"no assertion": func(c *Check) { c.Assertion = "" },
		"no source":    func(c *Check) { c.Source = "" },
		"no observe":   func(c *Check) { c.Observe = "" },
	} {
		c := good()
		edit(&c)
		if err := c.validate(Conformance); err == nil {
			t.Errorf("%s: accepted", name)
		}
	}
	if err := good().validate("other"); err == nil {
		t.Error("a check of an unknown kind was accepted")
	}
}

func checksNamed(ids ...string) []Check {
	var checks []Check
	for _, id := range ids {
		c := good()
		c.ID = id
		checks = append(checks, c)
	}
	return checks
}

func TestProfiles(t *testing.T) {
	checks := checksNamed("ACT-01", "BOOT-01", "RES-01", "RES-02", "RES-10", "TEN-01")
	for profile, want := range map[string]string{
		"smoke":      "ACT-01 BOOT-01",
		"certify":    "ACT-01 BOOT-01 RES-01 RES-02 RES-10 TEN-01",
		"resilience": "ACT-01 RES-01 RES-02 RES-10",
		"tenancy":    "TEN-01",
	} {
		got, err := demanded(profile, checks)
		if err != nil || strings.Join(got, " ") != want {
			t.Errorf("%s demands %v (%v), want %s", profile, got, err, want)
		}
	}
	if _, err := demanded("smok", checks); err == nil || !strings.Contains(err.Error(), "certify, resilience, smoke") {
		t.Errorf("an unknown profile: %v, want the ones there are", err)
	}
	if _, err := demanded("smoke", nil); err == nil {
		t.Error("a profile without any check was accepted")
	}
	if got, err := chosen([]string{"ACT-01"}, []string{"RES-0*"}, checks); err != nil || strings.Join(got, " ") != "RES-01 RES-02" {
		t.Errorf("chosen %v (%v)", got, err)
	}
	for _, glob := range []string{"TLS-*", "["} {
		if _, err := chosen(nil, []string{glob}, checks); err == nil {
			t.Errorf("-run-checks %s was accepted", glob)
		}
	}
}

func TestBudgets(t *testing.T) {
	b, err := LoadBudgets("")
	if err != nil || b["RES-01"] != 1500*time.Millisecond || b["RES-02"] != 7*time.Second || b["RES-05"] != 8*time.Second {
		t.Fatalf("built-in budgets %v (%v)", b, err)
	}
	path := filepath.Join(t.TempDir(), "budgets.yaml")
	write(t, path, "RES-02: 4s\n")
	if b, err = LoadBudgets(path); err != nil || b["RES-02"] != 4*time.Second || b["RES-05"] != 8*time.Second {
		t.Errorf("own budgets %v (%v), want 5s over the built-in ones", b, err)
	}
	for _, text := range []string{"RES-02: fast", "RES-02: -1s", "res2: 1s", "- 1"} {
		write(t, path, text)
		if _, err := LoadBudgets(path); err == nil {
			t.Errorf("%q was accepted", text)
		}
	}
	if _, err := LoadBudgets(path + ".absent"); err == nil {
		t.Error("a file that is not there was accepted")
	}
}

func write(t *testing.T, path, text string) {
	t.Helper()
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}

func flags(t *testing.T, args ...string) (Options, error) {
	t.Helper()
	set := flag.NewFlagSet("test", flag.ContinueOnError)
	set.SetOutput(io.Discard)
	registerFlags(set, DefaultOptions())
	if err := set.Parse(args); err != nil {
		t.Fatal(err)
	}
	return optionsFrom(set)
}

func TestFlags(t *testing.T) {
	if _, err := flags(t); !errors.Is(err, ErrNotAsked) {
		t.Errorf("without flags: %v, want ErrNotAsked", err)
	}
	o, err := flags(t, "-kubeconfig", "k", "-profile", "smoke", "-run-checks", "ACT-*, RES-01", "-seed", "7", "-trials", "3", "-list", "-target", "vault.yaml")
	if err != nil || o.TargetFile != "vault.yaml" || o.Kubeconfig != "k" || o.Profile != "smoke" || o.Seed != 7 || o.Trials != 3 || !o.List ||
		!slices.Equal(o.RunChecks, []string{"ACT-*", "RES-01"}) {
		t.Errorf("options %+v (%v)", o, err)
	}
	for _, args := range [][]string{{"-seed", "x"}, {"-seed", "-1"}, {"-trials", "0"}} {
		if _, err := flags(t, args...); err == nil {
			t.Errorf("%v was accepted", args)
		}
	}
}

func TestDeadKubeconfig(t *testing.T) {
	t.Setenv("KUBECONFIG", "")
	t.Setenv("KUBERNETES_SERVICE_HOST", "") // not even in a pod
	if _, err := DefaultOptions().restConfig(); err == nil || !strings.Contains(err.Error(), "-kubeconfig") {
		t.Errorf("without a kubeconfig: %v", err)
	}
	o := DefaultOptions()
	o.Kubeconfig = filepath.Join(t.TempDir(), "absent")
	if _, err := o.restConfig(); err == nil || !strings.Contains(err.Error(), "cannot be used") {
		t.Errorf("with an absent file: %v", err)
	}
}

func TestOutcome(t *testing.T) {
	r := &Case{}
	for name, c := range map[string]struct {
		err  error
		want report.Status
	}{
		"passed":      {nil, report.Passed},
		"failed":      {errors.New("2 pods are active"), report.Failed},
		"skipped":     {fmt.Errorf("x: %w", r.Skip("no such feature")), report.Skipped},
		"no custody":  {r.CannotTell(target.ErrNoCustody), report.Skipped},
		"no chaos":    {fmt.Errorf("x: %w", fault.ErrUnavailable), report.Skipped},
		"no witness":  {fmt.Errorf("x: %w", fault.ErrNoWitness), report.Inconclusive},
		"cannot tell": {r.CannotTell(errors.New("forbidden")), report.Inconclusive},
	} {
		if got, reason := outcome(c.err); got != c.want || (c.err != nil) != (reason != "") {
			t.Errorf("%s: %s (%s), want %s", name, got, reason, c.want)
		}
	}
	if r.CannotTell(nil) != nil {
		t.Error("CannotTell(nil) is an error")
	}
}

func TestGuardTurnsPanicsIntoInconclusive(t *testing.T) {
	err := new(session).guard(func() error { panic("index out of range") })
	if status, reason := outcome(err); status != report.Inconclusive || !strings.Contains(reason, "index out of range") {
		t.Errorf("a panic became %s: %s", status, reason)
	}
}

// newTestSession is a session without a cluster.
func newTestSession(t *testing.T) *session {
	t.Helper()
	dir := t.TempDir()
	journal, err := fault.OpenJournal(filepath.Join(dir, fault.JournalFile), "r")
	if err != nil {
		t.Fatal(err)
	}
	o := DefaultOptions()
	o.Artifacts, o.Out = t.TempDir(), io.Discard
	return &session{opts: o, runID: "r", dir: dir, started: time.Now(), log: timeline.New(nil), journal: journal, results: map[string]report.Check{}}
}

func withCatalogue(t *testing.T, checks ...Check) {
	t.Helper()
	before := catalogue
	t.Cleanup(func() { catalogue = before })
	catalogue = nil
	for _, c := range checks {
		catalogue = append(catalogue, registered{check: c, kind: Conformance})
	}
}

func TestAReportIsWrittenWhateverHappened(t *testing.T) {
	withCatalogue(t, checksNamed("ACT-01", "ACT-02", "ACT-03")...)
	for name, c := range map[string]struct {
		happen  func(*session)
		verdict report.Verdict
		reason  string // of the check that has no result
	}{
		"set-up failed": {func(s *session) { s.breakDown("the Kubernetes API does not answer") }, report.Infrastructure, "the Kubernetes API does not answer"},
		"interrupted":   {func(s *session) { s.interrupted = "Interrupted by User" }, report.VerdictInconclusive, "Interrupted by User"},
		"hung":          {func(*session) {}, report.VerdictInconclusive, "did not end"},
	} {
		s := newTestSession(t)
		s.required, s.selected = []string{"ACT-01", "ACT-02", "ACT-03"}, []string{"ACT-01", "ACT-02"}
		s.record(report.Check{ID: "ACT-01", Area: "routing", Level: "MUST", Status: report.Passed})
		c.happen(s)
		verdict, err := s.finish(t.Context())
		if err != nil || verdict != c.verdict {
			t.Errorf("%s: verdict %s (%v), want %s", name, verdict, err, c.verdict)
		}
		r, err := report.Load(s.dir)
		if err != nil {
			t.Fatal(err)
		}
		if len(r.Checks) != 3 || r.Checks[1].Status != report.Skipped || !strings.Contains(r.Checks[1].Reason, c.reason) {
			t.Errorf("%s: checks %+v", name, r.Checks)
		}
		if r.Checks[2].Reason != "left out by -run-checks" {
			t.Errorf("%s: a check that was left out says %q", name, r.Checks[2].Reason)
		}
	}
}

func TestBundleRefusesSecrets(t *testing.T) {
	secret := []byte("hvs.CAESIHexampleexample")
	scanner, err := leak.New(leak.Needle{Name: "root-token", Value: secret})
	if err != nil {
		t.Fatal(err)
	}
	b := &bundler{dir: t.TempDir(), scanner: scanner}
	b.write("a.log", bytes.Join([][]byte{[]byte("token="), secret, []byte(" done")}, nil))
	got, err := os.ReadFile(filepath.Join(b.dir, "a.log"))
	if err != nil || bytes.Contains(got, secret) || !bytes.Contains(got, []byte("done")) {
		t.Errorf("the bundle holds %q (%v)", got, err)
	}
	b.dir = filepath.Join(b.dir, "absent")
	b.write("b.log", nil)
	if len(b.errs) != 1 {
		t.Errorf("errors %v, want the one of writing", b.errs)
	}
}

// listed are the ids that -list prints, in order, given the flags beside it.
func listed(t *testing.T, args ...string) string {
	t.Helper()
	o, err := flags(t, append(args, "-list")...)
	if err != nil {
		t.Fatal(err)
	}
	var out bytes.Buffer
	o.Out = &out
	Run(t, o) // it takes no cluster to do so
	var ids []string
	for line := range strings.Lines(out.String()) {
		if fields := strings.Fields(line); idForm.MatchString(fields[0]) {
			ids = append(ids, fields[0])
		}
	}
	return strings.Join(ids, " ")
}

func TestListAndRunChecks(t *testing.T) {
	withCatalogue(t, checksNamed("TLS-02", "ACT-11", "TLS-01", "ACT-02", "RES-01")...)
	if got := listed(t); got != "ACT-02 ACT-11 RES-01 TLS-01 TLS-02" {
		t.Errorf("-list prints %s", got)
	}
	if got := listed(t, "-run-checks", "TLS-01,ACT-*"); got != "ACT-02 ACT-11 TLS-01" {
		t.Errorf("-list -run-checks TLS-01,ACT-* prints %s", got)
	}
	o, err := flags(t, "-kubeconfig", "k", "-profile", "smoke", "-run-checks", "TLS-01,ACT-*")
	if err != nil {
		t.Fatal(err)
	}
	o.Artifacts = t.TempDir()
	s, err := newSession(o)
	if err != nil {
		t.Fatal(err)
	}
	if got := strings.Join(s.selected, " "); got != "ACT-02 ACT-11 TLS-01" {
		t.Errorf("-run-checks TLS-01,ACT-* selects %s", got)
	}
	if got := strings.Join(s.required, " "); got != "ACT-02 TLS-01 TLS-02" {
		t.Errorf("profile smoke demands %s, whatever was selected", got)
	}
	suite, _ := s.ginkgoConfig(t)
	if suite.LabelFilter != "ACT-02 || ACT-11 || TLS-01" {
		t.Errorf("Ginkgo is told to run %s", suite.LabelFilter)
	}
	if err := list(io.Discard, []string{"ACT-9*"}); err == nil || !strings.Contains(err.Error(), "-list shows them all") {
		t.Errorf("a glob that names nothing: %v", err)
	}
}

func TestRoleOf(t *testing.T) {
	for want, labels := range map[string]map[string]string{
		"vault":         {"dedicated": "vault"},
		"services":      {"vaultproof.dev/role": "services"},
		"control-plane": {"node-role.kubernetes.io/control-plane": ""},
		"worker":        {},
	} {
		if got := roleOf(labels); got != want {
			t.Errorf("role of %v is %s, want %s", labels, got, want)
		}
	}
}

func TestSeed(t *testing.T) {
	o := DefaultOptions()
	if o.seed(time.Now()) <= 0 {
		t.Error("the seed from the clock is not positive")
	}
	if o.Seed = 9; o.seed(time.Now()) != 9 {
		t.Error("the given seed is not used")
	}
}

func TestFlowEndsWithItsContext(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := (&Traffic{}).Flow(ctx, time.Hour); !errors.Is(err, context.Canceled) {
		t.Errorf("flow says %v", err)
	}
}

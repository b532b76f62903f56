package conformance

import (
	"path/filepath"
	"strings"
	"testing"

	"github.com/vaultproof/vaultproof/pkg/report"
)

// TestBaselineClosesTheGate: what passed in the earlier run and fails now denies the
// certificate, even if it is only a SHOULD.
func TestBaselineClosesTheGate(t *testing.T) {
	withCatalogue(t, checksNamed("ACT-01", "ACT-02")...)
	passed := report.Check{ID: "ACT-01", Area: "routing", Level: report.Must, Status: report.Passed}
	should := report.Check{ID: "ACT-02", Area: "routing", Level: report.Should, Status: report.Passed}
	run := func(base *report.Report, status report.Status) *report.Report {
		s := newTestSession(t)
		s.required, s.selected, s.baseline = []string{"ACT-01"}, []string{"ACT-01", "ACT-02"}, base
		s.record(passed)
		now := should
		now.Status, now.Reason = status, "it was so"
		s.record(now)
		if _, err := s.finish(t.Context()); err != nil {
			t.Fatal(err)
		}
		r, err := report.Load(s.dir)
		if err != nil {
			t.Fatal(err)
		}
		return r
	}
	earlier := run(nil, report.Passed)
	if earlier.Verdict != report.Certified || earlier.Baseline != nil {
		t.Fatalf("without a baseline the verdict is %s (%v)", earlier.Verdict, earlier.Reasons)
	}
	if r := run(earlier, report.Passed); r.Verdict != report.Certified || r.Baseline == nil || r.Baseline.RunID != earlier.RunID {
		t.Errorf("a run as good as the baseline is %s: %v", r.Verdict, r.Reasons)
	}
	r := run(earlier, report.Failed)
	if text := strings.Join(r.Reasons, " "); r.Verdict != report.NotCertified || !strings.Contains(text, "ACT-02 passed in run "+earlier.RunID) {
		t.Errorf("a run worse than the baseline is %s: %v", r.Verdict, r.Reasons)
	}
	if r := run(nil, report.Failed); r.Verdict != report.Certified {
		t.Errorf("without the baseline a failed SHOULD makes it %s", r.Verdict)
	}
}

// TestBrokenBaselineStartsNothing: a gate that cannot compare must not open.
func TestBrokenBaselineStartsNothing(t *testing.T) {
	withCatalogue(t, checksNamed("ACT-01", "ACT-02")...)
	o, err := flags(t, "-profile", "certify", "-baseline", filepath.Join(t.TempDir(), "absent.json"))
	if err != nil {
		t.Fatal(err)
	}
	o.Artifacts = filepath.Join(t.TempDir(), "artifacts")
	if _, err := newSession(o); err == nil || !strings.Contains(err.Error(), "there is no baseline at") {
		t.Errorf("the session says %v", err)
	}
	if left, _ := filepath.Glob(o.Artifacts); len(left) > 0 {
		t.Error("a run was begun all the same")
	}
}

func TestServiceAccountOfThePod(t *testing.T) {
	t.Setenv("KUBECONFIG", "")
	t.Setenv("KUBERNETES_SERVICE_HOST", "10.96.0.1")
	t.Setenv("KUBERNETES_SERVICE_PORT", "443")
	o := DefaultOptions()
	config, err := o.restConfig()
	if err == nil { // these tests run in a pod
		if config.Host != "https://10.96.0.1:443" || config.QPS != 50 {
			t.Errorf("the configuration is %s at %v requests a second", config.Host, config.QPS)
		}
		return
	}
	if !strings.Contains(err.Error(), "automountServiceAccountToken") {
		t.Errorf("in a pod without a token: %v", err)
	}
}

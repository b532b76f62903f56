package report

import (
	"strings"
	"testing"
)

func check(id string, level string, status Status) Check {
	return Check{ID: id, Area: "routing", Level: level, Status: status, Reason: "it was so"}
}

func inapplicable(status Status) Check {
	c := check("BOOT-09", Must, status)
	c.Inapplicable = true
	return c
}

// TestJudge has a failing input for every way of not being certified.
func TestJudge(t *testing.T) {
	good := check("ACT-01", Must, Passed)
	witnessed := Fault{ID: "RES-01#1", Kind: "pod-delete", Target: "vault-0", Witness: "another uid"}
	for _, test := range []struct {
		name     string
		report   Report
		required []string
		want     Verdict
		reason   string // part of one of the reasons; empty: there is none
	}{
		{"all is well", Report{Checks: []Check{good}, Faults: []Fault{witnessed}}, []string{"ACT-01"}, Certified, ""},
		{"a skipped SHOULD does not block", Report{Checks: []Check{good, check("ACT-10", Should, Skipped)}}, nil, Certified, ""},
		{"a failed SHOULD is told and does not block", Report{Checks: []Check{good, check("ACT-10", Should, Failed)}}, nil,
			Certified, "ACT-10 failed, which does not block because it is a SHOULD: it was so."},

		{"no check", Report{}, nil, VerdictInconclusive, "No check was run."},
		{"no check, though some were required", Report{}, []string{"ACT-01"}, VerdictInconclusive, "The profile requires ACT-01, which was not run."},
		{"nothing but a SHOULD", Report{Checks: []Check{check("ACT-10", Should, Passed)}}, nil, VerdictInconclusive, "No MUST check passed"},
		{"nothing but a failed SHOULD", Report{Checks: []Check{check("ACT-10", Should, Failed)}}, nil, VerdictInconclusive, "No MUST check passed"},
		{"a MUST failed", Report{Checks: []Check{good, check("ACT-02", Must, Failed)}}, nil, NotCertified, "ACT-02 failed: it was so."},
		{"a required SHOULD failed", Report{Checks: []Check{good, check("ACT-10", Should, Failed)}}, []string{"ACT-10"}, NotCertified, "ACT-10 failed: it was so."},
		{"a check of unknown level failed", Report{Checks: []Check{good, check("ACT-02", "must", Failed)}}, nil, NotCertified, "ACT-02 failed"},
		{"a MUST was skipped", Report{Checks: []Check{good, check("ACT-02", Must, Skipped)}}, nil, VerdictInconclusive, "ACT-02 was skipped: it was so."},
		{"a MUST that is not made of this version was skipped", Report{Checks: []Check{good, inapplicable(Skipped)}}, nil, Certified, ""},
		{"one that failed all the same", Report{Checks: []Check{good, inapplicable(Failed)}}, nil, NotCertified, "BOOT-09 failed"},
		{"one that is required all the same", Report{Checks: []Check{good, inapplicable(Skipped)}}, []string{"BOOT-09"}, VerdictInconclusive, "BOOT-09 was skipped"},
		{"a MUST was inconclusive", Report{Checks: []Check{good, check("ACT-02", Must, Inconclusive)}}, nil, VerdictInconclusive, "ACT-02 was inconclusive"},
		{"a MUST has no status", Report{Checks: []Check{good, check("ACT-02", Must, "")}}, nil, VerdictInconclusive, "ACT-02 was inconclusive"},
		{"a required SHOULD was skipped", Report{Checks: []Check{good, check("ACT-10", Should, Skipped)}}, []string{"ACT-10"}, VerdictInconclusive, "ACT-10 was skipped"},
		{"required checks are absent", Report{Checks: []Check{good}}, []string{"RES-02", "ACT-01", "BOOT-01"}, VerdictInconclusive, "The profile requires BOOT-01 and RES-02, which were not run."},
		{"a fault has no witness", Report{Checks: []Check{good}, Faults: []Fault{{ID: "RES-02#3", Kind: "process-kill", Target: "vault-1", Witness: " "}}}, nil,
			VerdictInconclusive, "RES-02#3 (process-kill of vault-1) has no witness"},
		{"an acknowledged write was lost", Report{Checks: []Check{good}, Faults: []Fault{{ID: "RES-02#1", Kind: "process-kill", Target: "vault-1", Witness: "137", AckedWritesLost: 1}}}, nil,
			NotCertified, "RES-02#1 (process-kill of vault-1) lost 1 write that Vault had acknowledged."},
		{"the run was interrupted", Report{Checks: []Check{good}, Interrupted: "by Ctrl-C"}, nil, VerdictInconclusive, "The run was interrupted: by Ctrl-C."},
		{"the infrastructure broke", Report{Checks: []Check{good}, Broken: "the API server is gone"}, nil, Infrastructure, "the API server is gone."},

		{"infrastructure outweighs a failure", Report{Broken: "the API server is gone", Checks: []Check{check("ACT-02", Must, Failed)}}, nil, Infrastructure, "ACT-02 failed"},
		{"a failure outweighs what is unproven", Report{Checks: []Check{check("ACT-02", Must, Failed), check("ACT-03", Must, Skipped)}}, []string{"RES-01"}, NotCertified, "RES-01"},
	} {
		t.Run(test.name, func(t *testing.T) {
			r := test.report
			Judge(&r, test.required)
			if r.Verdict != test.want {
				t.Errorf("verdict %q, want %q; reasons %q", r.Verdict, test.want, r.Reasons)
			}
			if all := strings.Join(r.Reasons, "\n"); test.reason == "" && all != "" || !strings.Contains(all, test.reason) {
				t.Errorf("reasons %q, want %q", r.Reasons, test.reason)
			}
			if r.Verdict != Certified && len(r.Reasons) == 0 {
				t.Error("not certified, and no reason why")
			}
			for _, reason := range r.Reasons {
				if !strings.HasSuffix(reason, ".") || strings.Contains(reason, "\n") {
					t.Errorf("reason %q is no sentence in one line", reason)
				}
			}
		})
	}
}

func TestJudgeTellsTheWeightiestFirst(t *testing.T) {
	r := sampleReport()
	r.Broken = "the control plane is gone"
	Judge(r, []string{"RES-03"})
	var heads []string
	for _, reason := range r.Reasons {
		heads = append(heads, strings.Fields(reason)[0])
	}
	if got, want := strings.Join(heads, " "), "The RES-05 ISO-02 The OPS-08"; got != want {
		t.Errorf("reasons begin with %q, want %q: %q", got, want, r.Reasons)
	}
}

func TestJudgeAgainGivesTheSame(t *testing.T) {
	r := sampleReport()
	Judge(r, []string{"RES-03", "ACT-01", "RES-03"})
	first := strings.Join(r.Reasons, "\n")
	Judge(r, r.Required)
	if again := strings.Join(r.Reasons, "\n"); again != first {
		t.Errorf("judged again: %q, want %q", again, first)
	}
}

func TestExitCode(t *testing.T) {
	for verdict, want := range map[Verdict]int{Certified: 0, NotCertified: 1, VerdictInconclusive: 2, Infrastructure: 3, "": 2, "passed": 2} {
		if got := ExitCode(verdict); got != want {
			t.Errorf("%q exits %d, want %d", verdict, got, want)
		}
	}
}

package report

import (
	"errors"
	"fmt"
	"io"
	"path/filepath"
	"strings"
)

// tally counts checks by how they ended.
type tally struct {
	Passed, Failed, Skipped, Inconclusive, All int
}

func tallyOf(checks []Check) tally {
	var t tally
	for _, c := range checks {
		t.All++
		switch c.Status {
		case Passed:
			t.Passed++
		case Failed:
			t.Failed++
		case Skipped:
			t.Skipped++
		default:
			t.Inconclusive++
		}
	}
	return t
}

// String lists what there is: "12 passed, 1 failed".
func (t tally) String() string {
	if t.All == 0 {
		return "no check was run"
	}
	var parts []string
	for _, part := range []struct {
		n    int
		word string
	}{{t.Passed, "passed"}, {t.Failed, "failed"}, {t.Inconclusive, "inconclusive"}, {t.Skipped, "skipped"}} {
		if part.n > 0 {
			parts = append(parts, fmt.Sprintf("%d %s", part.n, part.word))
		}
	}
	return strings.Join(parts, ", ")
}

// title is the verdict as people say it.
func (v Verdict) title() string {
	switch v {
	case Certified:
		return "Certified"
	case NotCertified:
		return "Not certified"
	case Infrastructure:
		return "Infrastructure failed"
	default:
		return "Inconclusive"
	}
}

// Summary writes what a terminal needs to know: the verdict, why, the counts,
// each kind of fault in a line, and where the page is if r was written or loaded.
func Summary(w io.Writer, r *Report) error {
	var failed []error
	line := func(format string, args ...any) {
		_, err := fmt.Fprintf(w, format+"\n", args...)
		failed = append(failed, err)
	}
	line("")
	line("  %s", strings.ToUpper(r.Verdict.title()))
	for _, reason := range r.Reasons {
		line("    - %s", reason)
	}
	line("")
	line("  checks   %s", tallyOf(r.Checks))
	for i, t := range TrialsOf(r.Faults) {
		head := "        "
		if i == 0 {
			head = "faults  "
		}
		line("  %s %s", head, t.line())
	}
	line("  run      %s, profile %s, seed %d, %s", r.RunID, r.Profile, r.Seed, span(r.Ended.Sub(r.Started).Seconds()*1000))
	if r.dir != "" {
		line("  page     %s", filepath.Join(r.dir, HTMLFile))
	}
	line("")
	return errors.Join(failed...)
}

// line is what the terminal says of some trials.
func (t Trials) line() string {
	if len(t.Faults) == 1 {
		return faultLine(t.Faults[0])
	}
	var outages []float64
	budget, unwitnessed, lost := 0.0, 0, 0
	for _, f := range t.Faults {
		outages, budget = append(outages, f.OutageMS), max(budget, f.BudgetMS)
		lost += f.AckedWritesLost
		if !f.Witnessed() {
			unwitnessed++
		}
	}
	spread := SpreadOf(outages)
	s := fmt.Sprintf("%-10s %s, %s: outage median %s, p95 %s", t.Check, t.Kind, count(len(t.Faults), "trial"), span(spread.Median), span(spread.P95))
	if budget > 0 {
		s += fmt.Sprintf(" (budget %s)", span(budget))
	}
	if unwitnessed > 0 {
		s += fmt.Sprintf(", %d without a witness", unwitnessed)
	}
	if lost > 0 {
		s += fmt.Sprintf(", %s lost", count(lost, "acknowledged write"))
	}
	return s
}

func faultLine(f Fault) string {
	s := fmt.Sprintf("%-10s %s of %s: outage %s", f.ID, f.Kind, f.Target, span(f.OutageMS))
	if f.BudgetMS > 0 {
		s += fmt.Sprintf(" (budget %s)", span(f.BudgetMS))
	}
	if !f.Witnessed() {
		s += ", no witness"
	}
	if f.AckedWritesLost > 0 {
		s += fmt.Sprintf(", %s lost", count(f.AckedWritesLost, "acknowledged write"))
	}
	return s
}

// span is a time in milliseconds as people say it: 340 ms, 2.31 s, 1 min 12 s.
func span(ms float64) string {
	switch {
	case ms < 0:
		return "−" + span(-ms)
	case ms < 9.95:
		return strings.TrimSuffix(fmt.Sprintf("%.1f", ms), ".0") + " ms"
	case ms < 999.5:
		return fmt.Sprintf("%.0f ms", ms)
	case ms < 59_950:
		return strings.TrimSuffix(fmt.Sprintf("%.2f", ms/1000), ".00") + " s"
	default:
		s := int(ms/1000 + 0.5)
		if s >= 3600 {
			return fmt.Sprintf("%d h %d min", s/3600, s%3600/60)
		}
		return fmt.Sprintf("%d min %d s", s/60, s%60)
	}
}

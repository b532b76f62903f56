package report

import (
	"fmt"
	"slices"
	"strings"
)

// Judge sets the verdict of r and the reasons for it. required are the ids
// of the checks that the profile demands: each must be there and pass, even
// one of level SHOULD.
//
// The weightiest finding decides: broken infrastructure, then a failed MUST, a
// lost acknowledged write or a regression since the baseline, then anything
// that was not proved. Lesser
// findings are listed as reasons all the same.
func Judge(r *Report, required []string) {
	r.Schema = Schema
	r.Required = sortedIDs(required)

	broken, notes := failures(r)
	open := unproven(r)

	var why []string
	switch {
	case r.Broken != "":
		r.Verdict = Infrastructure
		why = append(why, sentence("The infrastructure broke: "+r.Broken))
	case len(broken) > 0:
		r.Verdict = NotCertified
	case len(open) > 0:
		r.Verdict = VerdictInconclusive
	default:
		r.Verdict = Certified
	}
	r.Reasons = slices.Concat(why, broken, open, notes)
	if r.Reasons == nil {
		r.Reasons = []string{} // an empty list in JSON rather than null
	}
}

// ExitCode is what a process should exit with: 0 for certified and for
// nothing else, 1 not certified, 2 inconclusive, 3 infrastructure.
func ExitCode(v Verdict) int {
	switch v {
	case Certified:
		return 0
	case NotCertified:
		return 1
	case Infrastructure:
		return 3
	default:
		return 2
	}
}

// failures returns what denies a certificate, and apart from that what is worth
// knowing.
func failures(r *Report) (blocking, notes []string) {
	blocking, notes = failed(r)
	return append(blocking, r.Baseline.regressions()...), append(notes, r.Baseline.remarks()...)
}

// failed returns the promises that the target broke, and apart from them the
// failed checks that do not block.
func failed(r *Report) (blocking, notes []string) {
	for _, c := range inOrder(r.Checks) {
		if c.Status != Failed {
			continue
		}
		if blocks(r, c) {
			blocking = append(blocking, sentence(fmt.Sprintf("%s failed: %s", c.ID, saw(c))))
		} else {
			notes = append(notes, sentence(fmt.Sprintf("%s failed, which does not block because it is a SHOULD: %s", c.ID, saw(c))))
		}
	}
	for _, f := range inTime(r.Faults) {
		if f.AckedWritesLost > 0 {
			blocking = append(blocking, fmt.Sprintf("%s (%s of %s) lost %s that Vault had acknowledged.",
				f.ID, f.Kind, f.Target, count(f.AckedWritesLost, "write")))
		}
	}
	return blocking, notes
}

// unproven returns what a certificate would need and the run did not prove.
func unproven(r *Report) []string {
	var open []string
	if r.Interrupted != "" {
		open = append(open, sentence("The run was interrupted: "+r.Interrupted))
	}
	if len(r.Checks) == 0 {
		open = append(open, "No check was run.")
	}
	there := map[string]bool{}
	proved := false
	var gaps gaps
	for _, c := range inOrder(r.Checks) {
		there[c.ID] = true
		proved = proved || (c.Status == Passed && blocks(r, c))
		if c.Status == Passed || c.Status == Failed || !blocks(r, c) {
			continue
		}
		gaps.add(c)
	}
	open = append(open, gaps.sentences()...)
	var absent []string
	for _, id := range r.Required {
		if !there[id] {
			absent = append(absent, id)
		}
	}
	if len(absent) > 0 {
		open = append(open, fmt.Sprintf("The profile requires %s, which %s not run.", list(absent), plural(len(absent), "was", "were")))
	}
	for _, f := range inTime(r.Faults) {
		if !f.Witnessed() {
			open = append(open, fmt.Sprintf("%s (%s of %s) has no witness: nothing proves that the fault hit.", f.ID, f.Kind, f.Target))
		}
	}
	open = append(open, r.Baseline.open()...)
	if len(open) == 0 && !proved {
		open = append(open, "No MUST check passed, so nothing was proved.")
	}
	return open
}

// gaps are the checks that proved nothing, those with one reason together: a
// cluster that does not answer is one fact, not one for each check.
type gaps struct {
	reasons []string // how and why, in the order met
	ids     map[string][]string
}

func (g *gaps) add(c Check) {
	how := "inconclusive"
	if c.Status == Skipped {
		how = "skipped"
	}
	reason := how + ": " + saw(c)
	if g.ids == nil {
		g.ids = map[string][]string{}
	}
	if len(g.ids[reason]) == 0 {
		g.reasons = append(g.reasons, reason)
	}
	g.ids[reason] = append(g.ids[reason], c.ID)
}

func (g *gaps) sentences() []string {
	var out []string
	for _, reason := range g.reasons {
		ids := g.ids[reason]
		out = append(out, sentence(fmt.Sprintf("%s %s %s", list(ids), plural(len(ids), "was", "were"), reason)))
	}
	return out
}

// blocks tells whether a certificate depends on c. A level other than SHOULD
// is taken for MUST, so that a slip in the catalogue cannot open the gate.
func blocks(r *Report, c Check) bool {
	if c.Inapplicable && c.Status == Skipped && !slices.Contains(r.Required, c.ID) {
		return false
	}
	return c.Level != Should || slices.Contains(r.Required, c.ID)
}

// saw is what a check has to say for itself.
func saw(c Check) string {
	if reason := strings.TrimSpace(c.Reason); reason != "" {
		return reason
	}
	if c.Assertion != "" {
		return "no reason was given (it asserts: " + c.Assertion + ")"
	}
	return "no reason was given"
}

// sentence makes s one line that ends in a full stop.
func sentence(s string) string {
	s = strings.Join(strings.Fields(s), " ")
	if strings.HasSuffix(s, ".") || strings.HasSuffix(s, "!") || strings.HasSuffix(s, "?") || strings.HasSuffix(s, "…") {
		return s
	}
	return s + "."
}

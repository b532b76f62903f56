package judge

import (
	"errors"
	"fmt"
	"io"
	"strings"
	"text/tabwriter"
)

// shown is how many of the ways in which a promise was broken are told in full.
const shown = 5

// Print writes a judgement for people: the verdict, why, and what each promise
// was judged by.
func Print(w io.Writer, j Judgement) error {
	var failed []error
	line := func(format string, args ...any) {
		_, err := fmt.Fprintf(w, format+"\n", args...)
		failed = append(failed, err)
	}
	line("verdict: %s", j.Verdict)
	for _, p := range j.Broken() {
		line("  broken: %s", p.Sentence())
	}
	for _, gap := range j.Gaps {
		line("  not proved: %s", gap)
	}
	table := tabwriter.NewWriter(w, 0, 4, 2, ' ', 0)
	fmt.Fprintln(table, "PROMISE\tSTATE\tJUDGED BY")
	for _, p := range j.Promises {
		fmt.Fprintf(table, "%s\t%s\t%d %s\n", p.Text, p.state(), p.Judged, p.Of)
	}
	failed = append(failed, table.Flush())
	if err := errors.Join(failed...); err != nil {
		return fmt.Errorf("printing the judgement: %w", err)
	}
	return nil
}

func (p Promise) state() string {
	switch {
	case len(p.Broken) > 0:
		return "broken " + times(len(p.Broken))
	case p.Judged == 0:
		return "not judged"
	default:
		return "kept"
	}
}

// Sentence says how a promise was broken, in full for the first times.
func (p Promise) Sentence() string {
	text := fmt.Sprintf("%q does not hold %s, judged by %d %s: %s", p.Text, times(len(p.Broken)), p.Judged, p.Of,
		strings.Join(p.Broken[:min(shown, len(p.Broken))], "; "))
	if more := len(p.Broken) - shown; more > 0 {
		text += fmt.Sprintf("; and %d more", more)
	}
	return text
}

func times(n int) string {
	if n == 1 {
		return "once"
	}
	return fmt.Sprintf("%d times", n)
}

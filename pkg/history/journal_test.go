package history

import (
	"strings"
	"testing"
)

func entry(value string, outcome Outcome) Op {
	return Op{Kind: Append, Key: "journal-0", Value: value, Call: 1 * ms, Return: 2 * ms, Outcome: outcome, Pod: "vault-0", Error: "HTTP 400"}
}

func TestJournals(t *testing.T) {
	ops := []Op{entry("a", OK), entry("b", OK), entry("doubtful", Unknown), entry("refused", Fail)}
	for name, c := range map[string]struct {
		journals       map[string][]string
		lost, invented string // part of the only one; empty for none
	}{
		"all there":           {map[string][]string{"journal-0": {"b", "a"}}, "", ""},
		"the doubtful too":    {map[string][]string{"journal-0": {"b", "doubtful", "a"}}, "", ""},
		"one lost":            {map[string][]string{"journal-0": {"a"}}, "journal-0, entry b: acknowledged by vault-0, and at the end it is not among the 1 entries", ""},
		"one of nobody":       {map[string][]string{"journal-0": {"a", "b", "z"}}, "", `holds the entry "z", which nobody appended`},
		"one refused":         {map[string][]string{"journal-0": {"a", "b", "refused"}}, "", "whose append was refused at 00:00:00.002 (HTTP 400)"},
		"one twice":           {map[string][]string{"journal-0": {"a", "b", "b"}}, "", `holds the entry "b" more than once`},
		"a journal of nobody": {map[string][]string{"journal-0": {"a", "b"}, "journal-9": {"x"}}, "", "journal journal-9 holds"},
	} {
		losses := Lost(ops, Final{Journals: c.journals})
		if c.lost == "" && len(losses) != 0 || c.lost != "" && (len(losses) != 1 || !strings.Contains(losses[0].String(), c.lost)) {
			t.Errorf("%s: lost %v, want %q", name, losses, c.lost)
		}
		found, err := Invented(ops, c.journals)
		if err != nil {
			t.Fatal(err)
		}
		checkFinding(t, name, found, c.invented)
	}
	if losses := Lost(ops, Final{}); len(losses) != 2 || !strings.Contains(losses[0].String(), "could not be read") || !losses[0].At.Equal(instant(2*ms)) {
		t.Errorf("without a journal: %v, want both acknowledged entries, with their time", losses)
	}
	if _, err := Invented(append(ops, entry("a", OK)), map[string][]string{"journal-0": nil}); err == nil {
		t.Error("two appends of one value were judged")
	}
}

// checkFinding wants exactly one finding with a text, or none if it is empty.
func checkFinding(t *testing.T, name string, found []Finding, want string) {
	t.Helper()
	if want == "" && len(found) != 0 || want != "" && (len(found) != 1 || !strings.Contains(found[0].String(), want)) {
		t.Errorf("%s: found %v, want %q", name, found, want)
	}
}

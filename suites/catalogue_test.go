package suites

import (
	"cmp"
	"errors"
	"flag"
	"fmt"
	"maps"
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/onsi/ginkgo/v2"

	"github.com/vaultproof/vaultproof/pkg/conformance"
)

// catalogueFile is for people who want to know what is checked without running it.
const catalogueFile = "CHECKS.md"

var updateDocs = flag.Bool("update-docs", false, "write "+catalogueFile+" instead of comparing it")

// TestCatalogueIsUpToDate compares CHECKS.md with the specs, or writes it.
func TestCatalogueIsUpToDate(t *testing.T) {
	// In a run against a Vault only the verdict counts.
	if _, err := conformance.OptionsFromFlags(); !errors.Is(err, conformance.ErrNotAsked) {
		t.Skip("this is a run against a Vault, not a test of the suites")
	}
	checks := conformance.Checks()
	want, err := catalogue(checks, kinds(checks))
	if err != nil {
		t.Fatal(err)
	}
	if *updateDocs {
		if err := os.WriteFile(catalogueFile, []byte(want), 0o644); err != nil {
			t.Fatalf("writing the catalogue: %v", err)
		}
		return
	}
	have, err := os.ReadFile(catalogueFile)
	if err != nil {
		t.Fatalf("suites/%s cannot be read (%v): run `make docs`", catalogueFile, err)
	}
	if line, differs := firstDifference(string(have), want); differs {
		t.Errorf("suites/%s does not say what the specs do, from line %d on: run `make docs`", catalogueFile, line)
	}
}

// kinds tells by id whether a check only looks or injects faults. That is a label of its
// spec.
func kinds(checks []conformance.Check) map[string]string {
	known := map[string]string{}
	for _, spec := range ginkgo.PreviewSpecs("catalogue").SpecReports {
		for _, c := range checks {
			if !slices.Contains(spec.Labels(), c.ID) {
				continue
			}
			for _, kind := range []string{conformance.Conformance, conformance.Chaos} {
				if slices.Contains(spec.Labels(), kind) {
					known[c.ID] = kind
				}
			}
		}
	}
	return known
}

// catalogue renders checks as Markdown, by area and id. The same checks always make the
// same text.
func catalogue(checks []conformance.Check, kinds map[string]string) (string, error) {
	areas := map[string][]conformance.Check{}
	for _, c := range checks {
		if kinds[c.ID] == "" {
			return "", fmt.Errorf("check %s has no spec that says whether it only looks", c.ID)
		}
		areas[c.Area] = append(areas[c.Area], c)
	}
	order := slices.Sorted(maps.Keys(areas))
	var out strings.Builder
	out.WriteString("# Checks\n\n")
	out.WriteString("<!-- Made from the specs by `make docs`; a change made here is lost. -->\n\n")
	out.WriteString("What a run can check, why, and how it sees it. A MUST that fails, or that nobody could see, denies the certificate; a SHOULD is reported. " +
		"Checks of the kind *conformance* leave Vault as it is, or restart a standby at most; those of the kind *chaos* inject faults. " +
		"`-run-checks 'TLS-*,ACT-01'` selects some, and `-profile` decides which are demanded.\n\n")
	out.WriteString("| area | checks | MUST | SHOULD | conformance | chaos |\n| --- | --: | --: | --: | --: | --: |\n")
	for _, area := range order {
		out.WriteString(summaryRow(area, areas[area], kinds))
	}
	for _, area := range order {
		fmt.Fprintf(&out, "\n## %s\n", area)
		list := areas[area]
		slices.SortFunc(list, func(a, b conformance.Check) int { return cmp.Compare(a.ID, b.ID) })
		for _, c := range list {
			out.WriteString(entry(c, kinds[c.ID]))
		}
	}
	return out.String(), nil
}

func summaryRow(area string, checks []conformance.Check, kinds map[string]string) string {
	must, chaos := 0, 0
	for _, c := range checks {
		if c.Level == conformance.Must {
			must++
		}
		if kinds[c.ID] == conformance.Chaos {
			chaos++
		}
	}
	all := len(checks)
	return fmt.Sprintf("| [%s](#%s) | %d | %d | %d | %d | %d |\n", area, area, all, must, all-must, all-chaos, chaos)
}

func entry(c conformance.Check, kind string) string {
	var out strings.Builder
	fmt.Fprintf(&out, "\n### %s\n\n**%s**, %s: %s.\n\n", c.ID, c.Level, kind, literal(c.Assertion))
	fmt.Fprintf(&out, "- Source: %s\n- Observed: %s\n", literal(c.Source), literal(c.Observe))
	if c.Since != "" {
		fmt.Fprintf(&out, "- Demanded from Vault %s on\n", c.Since)
	}
	return out.String()
}

// literal has Markdown show a text as it is.
func literal(text string) string {
	return strings.NewReplacer("\\", "\\\\", "*", "\\*", "_", "\\_", "<", "&lt;", "[", "\\[").Replace(text)
}

// firstDifference is the number of the first line that differs.
func firstDifference(have, want string) (line int, differs bool) {
	if have == want {
		return 0, false
	}
	a, b := strings.Split(have, "\n"), strings.Split(want, "\n")
	for i := range a {
		if i >= len(b) || a[i] != b[i] {
			return i + 1, true
		}
	}
	return len(a) + 1, true
}

func TestCatalogueSaysAllThatACheckSays(t *testing.T) {
	checks := []conformance.Check{
		{ID: "OPS-02", Area: "ops", Level: conformance.Should, Assertion: "b *is* <so>", Source: "two", Observe: "log_raw", Since: "2.0"},
		{ID: "ACT-01", Area: "routing", Level: conformance.Must, Assertion: "a", Source: "one", Observe: "look"},
		{ID: "OPS-01", Area: "ops", Level: conformance.Must, Assertion: "c", Source: "three", Observe: "break"},
	}
	kinds := map[string]string{"ACT-01": conformance.Conformance, "OPS-01": conformance.Chaos, "OPS-02": conformance.Conformance}
	got, err := catalogue(checks, kinds)
	if err != nil {
		t.Fatal(err)
	}
	at := 0
	for _, want := range []string{
		"| [ops](#ops) | 2 | 1 | 1 | 1 | 1 |", "## ops", "### OPS-01", "**MUST**, chaos: c.",
		"### OPS-02", `**SHOULD**, conformance: b \*is\* &lt;so>.`, "- Source: two", `- Observed: log\_raw`, "from Vault 2.0 on", "## routing", "### ACT-01",
	} {
		i := strings.Index(got[at:], want)
		if i < 0 {
			t.Fatalf("%q is not there, or not in its place, in:\n%s", want, got)
		}
		at += i
	}
	slices.Reverse(checks)
	if again, _ := catalogue(checks, kinds); again != got {
		t.Error("the order of registration shows in the text")
	}
	if _, err := catalogue(checks, nil); err == nil {
		t.Error("a check without a spec passes")
	}
}

func TestDriftIsSeen(t *testing.T) {
	for name, c := range map[string]struct {
		have, want string
		line       int
	}{
		"same": {"a\nb\n", "a\nb\n", 0}, "changed": {"a\nx\n", "a\nb\n", 2},
		"longer": {"a\nb\nc", "a\nb", 3}, "shorter": {"a", "a\nb", 2},
	} {
		if line, differs := firstDifference(c.have, c.want); line != c.line || differs != (c.line > 0) {
			t.Errorf("%s: line %d, want %d", name, line, c.line)
		}
	}
}

package report

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
)

// areas is the order in which areas are shown: from the birth of a Vault to
// its daily care. Areas that are not listed follow by name.
var areas = []string{"bootstrap", "isolation", "tls", "routing", "tenancy", "resilience", "upgrade", "ops"}

func areaRank(area string) int {
	if i := slices.Index(areas, area); i >= 0 {
		return i
	}
	return len(areas)
}

// inOrder returns the checks by area and id, whatever order they ran in.
func inOrder(checks []Check) []Check {
	sorted := slices.Clone(checks)
	slices.SortStableFunc(sorted, func(a, b Check) int {
		return cmp.Or(
			cmp.Compare(areaRank(a.Area), areaRank(b.Area)),
			cmp.Compare(a.Area, b.Area),
			cmp.Compare(a.ID, b.ID),
		)
	})
	return sorted
}

// inTime returns the faults in the order in which they were injected.
func inTime(faults []Fault) []Fault {
	sorted := slices.Clone(faults)
	slices.SortStableFunc(sorted, func(a, b Fault) int {
		return cmp.Or(a.InjectedAt.Compare(b.InjectedAt), cmp.Compare(a.ID, b.ID))
	})
	return sorted
}

// sortedIDs returns the ids without repetition, sorted; never nil.
func sortedIDs(ids []string) []string {
	sorted := append([]string{}, ids...)
	slices.Sort(sorted)
	return slices.Compact(sorted)
}

// list joins words as in a sentence: "a", "a and b", "a, b and c".
func list(words []string) string {
	if len(words) < 2 {
		return strings.Join(words, "")
	}
	last := len(words) - 1
	return strings.Join(words[:last], ", ") + " and " + words[last]
}

// count is a number with its noun: "1 write", "3 writes".
func count(n int, noun string) string {
	return fmt.Sprintf("%d %s", n, plural(n, noun, noun+"s"))
}

func plural(n int, one, many string) string {
	if n == 1 {
		return one
	}
	return many
}

// areaGroup is an area with its checks.
type areaGroup struct {
	Area   string
	Checks []Check
}

// byArea groups checks that are in order.
func byArea(checks []Check) []areaGroup {
	var groups []areaGroup
	for _, c := range checks {
		if n := len(groups); n == 0 || groups[n-1].Area != c.Area {
			groups = append(groups, areaGroup{Area: c.Area})
		}
		g := &groups[len(groups)-1]
		g.Checks = append(g.Checks, c)
	}
	return groups
}

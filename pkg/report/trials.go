package report

import (
	"cmp"
	"math"
	"slices"
	"strings"
)

// Trials are the times that one check injected one kind of fault.
type Trials struct {
	Check, Kind string
	Faults      []Fault // in the order in which they were injected
}

// TrialsOf groups faults by check and kind, in the order of these.
func TrialsOf(faults []Fault) []Trials {
	var all []Trials
	for _, f := range inTime(faults) {
		i := slices.IndexFunc(all, func(t Trials) bool { return t.Check == f.Check && t.Kind == f.Kind })
		if i < 0 {
			i = len(all)
			all = append(all, Trials{Check: f.Check, Kind: f.Kind})
		}
		all[i].Faults = append(all[i].Faults, f)
	}
	slices.SortStableFunc(all, func(a, b Trials) int {
		return cmp.Or(cmp.Compare(a.Check, b.Check), cmp.Compare(a.Kind, b.Kind))
	})
	return all
}

// Witnessed tells whether the fault is proved to have hit.
func (f Fault) Witnessed() bool { return strings.TrimSpace(f.Witness) != "" }

// Milestone is one of the times that a fault is measured by, in milliseconds:
// the outage, or a phase counted from the injection. MS is nil when it was not
// seen or does not apply.
type Milestone struct {
	Name string
	MS   *float64
}

// Milestones are the outage and then the phases, in the order in which they
// usually happen.
func (f Fault) Milestones() []Milestone {
	all := []Milestone{{"outage", &f.OutageMS}}
	for _, p := range f.Phases.list() {
		all = append(all, Milestone{p.name, p.at})
	}
	return all
}

// Spread sums up some times, in milliseconds.
type Spread struct {
	N                int
	Median, P95, Max float64
}

// SpreadOf takes each quantile by the nearest rank, so that it is one of the
// values: the 95th percentile of fewer than 20 is the greatest.
func SpreadOf(ms []float64) Spread {
	sorted := slices.Sorted(slices.Values(ms))
	if len(sorted) == 0 {
		return Spread{}
	}
	return Spread{N: len(sorted), Median: Rank(sorted, .5), P95: Rank(sorted, .95), Max: sorted[len(sorted)-1]}
}

// Rank is the smallest of sorted, which has to have one, that at least the part q is
// not above.
func Rank[T any](sorted []T, q float64) T {
	return sorted[max(0, int(math.Ceil(q*float64(len(sorted))))-1)]
}

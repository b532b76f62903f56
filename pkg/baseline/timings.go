package baseline

import (
	"slices"

	"github.com/vaultproof/vaultproof/pkg/report"
)

// What a time has to be longer by to matter: the greater of a part of what it was
// and an absolute value. Vault's own timers are drawn from whole seconds, and a
// client sees no better than the pause between its operations.
const (
	leastPart = 0.10
	leastMS   = 100.0
)

// familyLevel is the chance, over all times that are compared, of calling one
// slower that is not.
const familyLevel = 0.05

// timings compares the outage and each phase of each kind of fault, over the
// trials that have a witness.
//
// The test is the rank-sum test (Wilcoxon, Mann and Whitney), one-sided: it needs
// no shape of the noise, and outages have an awkward one, with a long tail and
// steps at the timers of Vault and kube-proxy. With few trials it is computed
// exactly, by counting the ways to deal the values out to the two runs. What
// matters only counts beyond a margin, so the margin is added to the earlier
// times first: the question is "longer by more than that?", and a shift too small
// for anybody to care is none, however many trials show it.
//
// A run compares a hundred times at once, of which at 5 % five would be called
// slower by noise alone. So the level is that of all together (Bonferroni), with
// Tarone's refinement: what has too few trials to ever reach the level does not
// take a share of it. That is also how too few trials are told from no difference.
func timings(now, then []report.Fault) []report.Timing {
	all := []report.Timing{}
	var least []float64 // the smallest p that each could have
	before := report.TrialsOf(then)
	for _, trials := range report.TrialsOf(now) {
		i := slices.IndexFunc(before, func(t report.Trials) bool { return t.Check == trials.Check && t.Kind == trials.Kind })
		if i < 0 {
			continue
		}
		a, b := times(trials.Faults), times(before[i].Faults)
		for _, what := range a.order {
			x, y := a.ms[what], b.ms[what]
			if len(x) == 0 || len(y) == 0 {
				continue // not seen, or does not apply; the check itself judges that
			}
			t := report.Timing{
				Check: trials.Check, Kind: trials.Kind, What: what,
				Now: sample(x), Then: sample(y), Outcome: report.NotSlower,
			}
			r := rank(x, shifted(y, max(leastMS, leastPart*t.Then.MedianMS)))
			t.P = r.greater()
			all, least = append(all, t), append(least, r.least())
		}
	}
	level := tarone(least)
	for i := range all {
		switch {
		case least[i] > level:
			all[i].Outcome, all[i].Enough = report.TooFew, enough(familyLevel/float64(len(all)))
		case all[i].P <= level:
			all[i].Outcome = report.Slower
		}
	}
	return all
}

// tarone returns the level of a single comparison: that of all together, divided
// by the number of those that could reach it.
func tarone(least []float64) float64 {
	for k := 1; ; k++ {
		level, reach := familyLevel/float64(k), 0
		for _, p := range least {
			if p <= level {
				reach++
			}
		}
		if reach <= k {
			return level
		}
	}
}

// measured are the times of some trials, by what they are of.
type measured struct {
	order []string
	ms    map[string][]float64
}

func times(faults []report.Fault) measured {
	m := measured{ms: map[string][]float64{}}
	for _, f := range faults {
		if !f.Witnessed() {
			continue
		}
		for _, time := range f.Milestones() {
			if !slices.Contains(m.order, time.Name) {
				m.order = append(m.order, time.Name)
			}
			if time.MS != nil {
				m.ms[time.Name] = append(m.ms[time.Name], *time.MS)
			}
		}
	}
	return m
}

func sample(ms []float64) report.Sample {
	return report.Sample{N: len(ms), MedianMS: report.SpreadOf(ms).Median}
}

func shifted(ms []float64, by float64) []float64 {
	later := make([]float64, len(ms))
	for i, v := range ms {
		later[i] = v + by
	}
	return later
}

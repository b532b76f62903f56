package trial

import (
	"math"

	"github.com/vaultproof/vaultproof/pkg/report"
)

// milestones of a recovery, in the order in which most recoveries reach them.
var milestones = []struct {
	name string
	at   func(report.Phases) *float64 // milliseconds after the injection
}{
	{"detected", func(p report.Phases) *float64 { return p.Detected }},
	{"elected", func(p report.Phases) *float64 { return p.Elected }},
	{"labelled", func(p report.Phases) *float64 { return p.Labelled }},
	{"routed", func(p report.Phases) *float64 { return p.Routed }},
	{"first_write", func(p report.Phases) *float64 { return p.FirstWrite }},
	{"unsealed", func(p report.Phases) *float64 { return p.Unsealed }},
}

// spread is the median and the 95th percentile of many trials: of the outages, and of
// each milestone over the trials that reached it. The names end in the unit. One trial has
// none.
func spread(results []Result) map[string]float64 {
	figures := map[string]float64{}
	if len(results) < 2 {
		return figures
	}
	put := func(name string, ms []float64) {
		if len(ms) == 0 {
			return
		}
		all := report.SpreadOf(ms)
		figures[name+"_median_ms"] = math.Round(all.Median)
		figures[name+"_p95_ms"] = math.Round(all.P95)
	}
	outages := make([]float64, len(results))
	for i, res := range results {
		outages[i] = res.Outage.MS()
	}
	put("outage", outages)
	for _, m := range milestones {
		var reached []float64
		for _, res := range results {
			if at := m.at(res.Phases); at != nil {
				reached = append(reached, *at)
			}
		}
		put(m.name, reached)
	}
	return figures
}

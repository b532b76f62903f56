package report

import "fmt"

// tile is one number of the run, in large type.
type tile struct{ Name, Value, Note, Tone string }

func tilesOf(r *Report, t tally, c *chart) []tile {
	tiles := []tile{{Name: "Checks passed", Value: fmt.Sprintf("%d of %d", t.Passed, t.All), Note: t.String()}}
	switch {
	case t.All == 0:
		tiles[0].Value, tiles[0].Tone = "none", "bad"
	case t.Failed > 0:
		tiles[0].Tone = "bad"
	case t.Passed == t.All:
		tiles[0].Tone = "good"
	}
	if len(r.Faults) > 0 {
		lost, unwitnessed := 0, 0
		for _, f := range r.Faults {
			lost += f.AckedWritesLost
			if !f.Witnessed() {
				unwitnessed++
			}
		}
		tiles = append(tiles, outageTile(r.Faults))
		tiles = append(tiles, tile{"Acknowledged writes lost", fmt.Sprint(lost), "over " + count(len(r.Faults), "fault"), toneOf(lost == 0)})
		tiles = append(tiles, tile{"Faults proved to hit", fmt.Sprintf("%d of %d", len(r.Faults)-unwitnessed, len(r.Faults)),
			"by an independent witness", toneOf(unwitnessed == 0)})
	}
	if c != nil && c.Ops != nil {
		tiles = append(tiles, tile{"Operations answered", percent(c.Ops.Total-c.Ops.Failed, c.Ops.Total),
			fmt.Sprintf("%s failed of %s, faults included", group(c.Ops.Failed), group(c.Ops.Total)), ""})
	}
	return tiles
}

// outageTile tells how many kinds of faults kept their budget, or how long the
// longest outage was where there is none.
func outageTile(faults []Fault) tile {
	worst, kept, budgets := faults[0], 0, 0
	for _, t := range TrialsOf(faults) {
		budget := 0.0
		var outages []float64
		for _, f := range t.Faults {
			outages, budget = append(outages, f.OutageMS), max(budget, f.BudgetMS)
			if f.OutageMS > worst.OutageMS {
				worst = f
			}
		}
		if budget > 0 {
			budgets++
		}
		if budget > 0 && SpreadOf(outages).P95 <= budget {
			kept++
		}
	}
	if budgets == 0 {
		return tile{"Longest outage", span(worst.OutageMS), worst.ID + ", no budget", ""}
	}
	return tile{"Outages within budget", fmt.Sprintf("%d of %d", kept, budgets),
		fmt.Sprintf("p95 of each kind of fault; longest %s, %s", span(worst.OutageMS), worst.ID), toneOf(kept == budgets)}
}

func toneOf(good bool) string {
	if good {
		return "good"
	}
	return "bad"
}

package report

import (
	"fmt"
	"slices"
)

// trialsView is a part of the table of faults: the trials of one kind of fault.
type trialsView struct {
	Trials
	Tone   string // good, bad or empty when there is no budget
	Only   bool   // there is one trial, and so no spread
	Outage outageView
	Phases []phaseView // medians over the trials that reached them
	Lost   int
	// Witness is that of the slowest trial, Proved how many have one.
	Witness, Proved string
	Rows            []faultView
}

// outageView is how long clients were without an answer.
type outageView struct {
	Median, P95, Max string
	Budget           string
	Limit            float64 // where the budget stands on the scale, in percent
	Dots             []dot
}

// dot is one trial on the scale.
type dot struct {
	ID   string
	At   float64 // percent
	Tone string
	Says string
}

// faultView is one trial.
type faultView struct {
	Fault
	Tone   string
	Outage string
	Phases []phaseView
	Seen   string // how long after the injection the witness was there
	Lasted string // how long the fault was in force; empty when it never ended
}

type phaseView struct {
	Name string
	At   string // empty when not seen
}

// trialViews prepares the faults for the table. All dots share one scale, so
// that they compare.
func trialViews(faults []Fault) []trialsView {
	scale := 1.0
	for _, f := range faults {
		scale = max(scale, f.OutageMS, f.BudgetMS)
	}
	var views []trialsView
	for _, t := range TrialsOf(faults) {
		views = append(views, trialsViewOf(t, scale))
	}
	return views
}

func trialsViewOf(t Trials, scale float64) trialsView {
	v := trialsView{Trials: t, Only: len(t.Faults) == 1}
	times := map[string][]float64{}
	proved, budget := 0, 0.0
	slowest := t.Faults[0]
	for _, f := range t.Faults {
		row := faultViewOf(f)
		v.Rows = append(v.Rows, row)
		v.Lost += f.AckedWritesLost
		v.Outage.Dots = append(v.Outage.Dots, dot{ID: f.ID, At: round(f.OutageMS / scale * 100), Tone: row.Tone, Says: f.ID + ": " + row.Outage})
		for _, m := range f.Milestones() {
			if m.MS != nil {
				times[m.Name] = append(times[m.Name], *m.MS)
			}
		}
		if f.Witnessed() {
			proved++
		}
		budget = max(budget, f.BudgetMS)
		if f.OutageMS > slowest.OutageMS {
			slowest = f
		}
	}
	outages := SpreadOf(times["outage"])
	v.Outage.Median, v.Outage.P95, v.Outage.Max = outageText(outages.Median), outageText(outages.P95), outageText(outages.Max)
	if budget > 0 {
		v.Tone, v.Outage.Budget, v.Outage.Limit = toneOf(outages.P95 <= budget), span(budget), round(budget/scale*100)
	}
	for _, m := range t.Faults[0].Milestones()[1:] {
		phase := phaseView{Name: m.Name}
		if ms := times[m.Name]; len(ms) > 0 {
			phase.At = span(SpreadOf(ms).Median)
		}
		v.Phases = append(v.Phases, phase)
	}
	v.Proved = fmt.Sprintf("%d of %d proved to have hit", proved, len(t.Faults))
	if i := slices.IndexFunc(t.Faults, Fault.unwitnessed); i >= 0 {
		v.Tone = "bad"
	} else {
		v.Witness = slowest.Witness
	}
	return v
}

func (f Fault) unwitnessed() bool { return !f.Witnessed() }

func faultViewOf(f Fault) faultView {
	v := faultView{Fault: f, Outage: outageText(f.OutageMS)}
	if f.BudgetMS > 0 {
		v.Tone = toneOf(f.OutageMS <= f.BudgetMS)
	}
	for _, p := range f.Phases.list() {
		phase := phaseView{Name: p.name}
		if p.at != nil {
			phase.At = span(*p.at)
		}
		v.Phases = append(v.Phases, phase)
	}
	if f.Witnessed() && !f.WitnessedAt.IsZero() {
		v.Seen = span(float64(f.WitnessedAt.Sub(f.InjectedAt).Microseconds()) / 1000)
	}
	if !f.RecoveredAt.IsZero() {
		v.Lasted = span(float64(f.RecoveredAt.Sub(f.InjectedAt).Microseconds()) / 1000)
	}
	return v
}

func outageText(ms float64) string {
	if ms == 0 {
		return "none"
	}
	return span(ms)
}

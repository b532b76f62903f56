package report

// faultView is a row of the table of faults.
type faultView struct {
	Fault
	Tone      string // good, bad or empty when there is no budget
	Outage    string
	Budget    string
	Share     float64 // the bar: the outage in percent of the scale
	Limit     float64 // where the budget stands on the scale, in percent
	Phases    []phaseView
	Witnessed string // how long after the injection
	Lasted    string // how long the fault was in force; empty when it never ended
}

type phaseView struct {
	Name string
	At   string // empty when not seen
}

// faultViews prepares the faults for the table. All bars share one scale, so
// that they compare.
func faultViews(faults []Fault) []faultView {
	scale := 0.0
	for _, f := range faults {
		scale = max(scale, f.OutageMS, f.BudgetMS)
	}
	var views []faultView
	for _, f := range faults {
		v := faultView{Fault: f, Outage: span(f.OutageMS)}
		if f.OutageMS == 0 {
			v.Outage = "none seen"
		}
		if scale > 0 {
			v.Share = round(f.OutageMS / scale * 100)
			v.Limit = round(f.BudgetMS / scale * 100)
		}
		if f.BudgetMS > 0 {
			v.Budget = span(f.BudgetMS)
			v.Tone = toneOf(f.OutageMS <= f.BudgetMS)
		}
		for _, p := range f.Phases.list() {
			view := phaseView{Name: p.name}
			if p.at != nil {
				view.At = span(*p.at)
			}
			v.Phases = append(v.Phases, view)
		}
		if f.Witness != "" && !f.WitnessedAt.IsZero() {
			v.Witnessed = span(float64(f.WitnessedAt.Sub(f.InjectedAt).Microseconds()) / 1000)
		}
		if !f.RecoveredAt.IsZero() {
			v.Lasted = span(float64(f.RecoveredAt.Sub(f.InjectedAt).Microseconds()) / 1000)
		}
		views = append(views, v)
	}
	return views
}

package report

// phase is one milestone of a fault's recovery, with its name for people.
type phase struct {
	name  string
	at    *float64 // ms after the fault was injected, nil when not seen
	clear func()
}

// list returns all phases in the order in which they usually happen.
func (p *Phases) list() []phase {
	field := func(name string, at **float64) phase {
		return phase{name: name, at: *at, clear: func() { *at = nil }}
	}
	return []phase{
		field("detected", &p.Detected),
		field("elected", &p.Elected),
		field("labelled", &p.Labelled),
		field("routed", &p.Routed),
		field("first write", &p.FirstWrite),
		field("unsealed", &p.Unsealed),
	}
}

package report

import (
	"cmp"
	"slices"
	"strings"
	"time"

	"github.com/vaultproof/vaultproof/pkg/timeline"
)

// laneGroup is a set of rows on the axis, one row per pod.
type laneGroup struct {
	Name string `json:"name"`
	// Short is its name in the readout of one instant.
	Short string `json:"short"`
	// About says in a few words what a coloured band means.
	About string `json:"about"`
	// Named: the value is written into the band.
	Named bool   `json:"named,omitempty"`
	Rows  []lane `json:"rows"`
}

type lane struct {
	Name  string  `json:"name"`
	Spans []state `json:"spans"`
}

// state is a value that held for a while. Look is how it is drawn: on (in
// the pod's colour), off (a thin line), warn, or gone.
type state struct {
	From  float64 `json:"f"`
	To    float64 `json:"t"`
	Value string  `json:"v"`
	Look  string  `json:"l"`
}

// looks says how the values of each kind are drawn. A value that is not
// listed is drawn as gone.
var looks = map[timeline.Kind]map[string]string{
	timeline.Leader: {"active": "on", "standby": "off", "sealed": "warn"},
	timeline.Seal:   {"unsealed": "on", "sealed": "warn"},
	timeline.Label:  {"true": "on", "false": "off"},
}

// lanesOf turns state changes into bands; answering are the rows of the pods that
// answered operations.
func lanesOf(events []timeline.Event, answering []lane, at func(time.Time) float64, end float64) []laneGroup {
	groups := []laneGroup{}
	add := func(name, short, about string, rows []lane) {
		if len(rows) > 0 {
			groups = append(groups, laneGroup{Name: name, Short: short, About: about, Rows: rows})
		}
	}
	add("Active pod", "active", "the pod's own sys/leader says that it is active", states(events, timeline.Leader, at, end))
	add("vault-active label", "label", "the pod bears vault-active=true", states(events, timeline.Label, at, end))
	services := subjects(events, timeline.Endpoints)
	for _, service := range services {
		short := "endpoints"
		if len(services) > 1 {
			short = service
		}
		add("Endpoints of "+service, short, "the pod is a ready endpoint", endpoints(events, service, at, end))
	}
	add("Answered by", "answered by", "the pod answered operations", answering)
	add("Seal state", "unsealed", "the pod is unsealed", states(events, timeline.Seal, at, end))
	add("Raft term", "term", "of the active pod, by its own word; an election makes it greater", terms(events, at, end))
	for i := range groups {
		groups[i].Named = groups[i].Short == "term"
	}
	return groups
}

// terms draws the raft term of each pod while it is the active one.
func terms(events []timeline.Event, at func(time.Time) float64, end float64) []lane {
	return lanes(subjects(events, timeline.Term), func(l *lane) {
		for _, e := range events {
			switch {
			case e.Subject != l.Name:
			case e.Kind == timeline.Term:
				l.become(at(e.At), e.Value, "on")
			case e.Kind == timeline.Leader && e.Value != "active" && len(l.Spans) > 0:
				l.become(at(e.At), e.Value, "off")
			}
		}
		l.close(end)
	})
}

// subjects returns whom events of a kind are about, sorted.
func subjects(events []timeline.Event, kind timeline.Kind) []string {
	var names []string
	for _, e := range events {
		if e.Kind == kind && !slices.Contains(names, e.Subject) {
			names = append(names, e.Subject)
		}
	}
	slices.Sort(names)
	return names
}

func states(events []timeline.Event, kind timeline.Kind, at func(time.Time) float64, end float64) []lane {
	return lanes(subjects(events, kind), func(l *lane) {
		for _, e := range events {
			if e.Kind != kind || e.Subject != l.Name {
				continue
			}
			l.become(at(e.At), e.Value, cmp.Or(looks[kind][e.Value], "gone"))
		}
		l.close(end)
	})
}

func endpoints(events []timeline.Event, service string, at func(time.Time) float64, end float64) []lane {
	var pods []string
	for _, e := range events {
		if e.Kind == timeline.Endpoints && e.Subject == service {
			pods = append(pods, ready(e)...)
		}
	}
	return lanes(sortedIDs(pods), func(l *lane) {
		for _, e := range events {
			if e.Kind != timeline.Endpoints || e.Subject != service {
				continue
			}
			if slices.Contains(ready(e), l.Name) {
				l.become(at(e.At), "ready", "on")
			} else {
				l.become(at(e.At), "not ready", "off")
			}
		}
		l.close(end)
	})
}

// ready returns the pods of an endpoints event.
func ready(e timeline.Event) []string {
	return strings.FieldsFunc(e.Value, func(c rune) bool { return c == ',' || c == ' ' })
}

// silence ends a band of answers, in ms: at 100 operations a second it is
// long enough that only a real gap shows.
const silence = 250.0

// answers draws which pods answered, as the clients saw it.
func answers(events []timeline.Event, at func(time.Time) float64) []lane {
	spans := map[string][]state{}
	var pods []string
	for _, e := range events {
		if e.Kind != timeline.Operation || !e.OK || e.Value == "" {
			continue
		}
		from := at(e.At)
		to := from + max(1, round(e.LatencyMS))
		s, known := spans[e.Value]
		if !known {
			pods = append(pods, e.Value)
		}
		if n := len(s); n > 0 && from-s[n-1].To <= silence {
			s[n-1].To = max(s[n-1].To, to)
		} else {
			s = append(s, state{From: from, To: to, Value: "answering", Look: "on"})
		}
		spans[e.Value] = s
	}
	slices.Sort(pods)
	return lanes(pods, func(l *lane) { l.Spans = spans[l.Name] })
}

func lanes(names []string, fill func(*lane)) []lane {
	rows := make([]lane, len(names))
	for i, name := range names {
		rows[i] = lane{Name: name, Spans: []state{}}
		fill(&rows[i])
	}
	return rows
}

// become ends the state that held and starts another; a state that is
// repeated goes on.
func (l *lane) become(at float64, value, look string) {
	if n := len(l.Spans); n > 0 {
		last := &l.Spans[n-1]
		if last.Value == value {
			return
		}
		last.To = at
	}
	l.Spans = append(l.Spans, state{From: at, Value: value, Look: look})
}

// close ends the state that held at the end of the run.
func (l *lane) close(end float64) {
	if n := len(l.Spans); n > 0 {
		l.Spans[n-1].To = end
	}
}

// podsOf returns every pod that has a row, sorted.
func podsOf(groups []laneGroup) []string {
	var pods []string
	for _, g := range groups {
		for _, row := range g.Rows {
			pods = append(pods, row.Name)
		}
	}
	return sortedIDs(pods)
}

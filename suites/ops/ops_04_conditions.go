package ops

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/vaultproof/vaultproof/pkg/alert"
	"github.com/vaultproof/vaultproof/pkg/timeline"
	"github.com/vaultproof/vaultproof/suites/trial"
)

// condition is something that the run's probe saw by itself, without metrics, and
// that alerts are for.
type condition struct {
	what string
	span
	// alerts of which one has to fire, if it lasts; of this pod, if one is named.
	alerts []string
	pod    string
	// doubt marks a time in which it may have been so: it excuses an alert and
	// demands none.
	doubt bool
}

// What alerts are for what.
var (
	sealAlerts     = []string{"VaultSealed", "VaultHeld"}
	noActiveAlerts = []string{"VaultNoActive"}
	twoActive      = []string{"VaultTwoActive"}
)

// observed finds the conditions in a timeline, as long as the probe was at work.
func observed(events []timeline.Event) []condition {
	events = probed(events)
	matters := []matter{{
		what: "no pod was active", alerts: noActiveAlerts, kind: timeline.Leader,
		certain:  func(s map[string]string) bool { return count(s, "active") == 0 && count(s, "unreachable") == 0 },
		possible: func(s map[string]string) bool { return count(s, "active") == 0 },
	}, {
		what: "two pods were active", alerts: twoActive, kind: timeline.Leader,
		certain:  func(s map[string]string) bool { return count(s, "active") > 1 },
		possible: func(s map[string]string) bool { return count(s, "active")+count(s, "unreachable") > 1 },
	}}
	for _, pod := range subjects(events, timeline.Seal) {
		matters = append(matters, matter{
			what: "pod " + pod + " was sealed", alerts: sealAlerts, pod: pod, kind: timeline.Seal,
			certain:  func(s map[string]string) bool { return s[pod] == "sealed" },
			possible: func(s map[string]string) bool { return s[pod] != "" && s[pod] != "unsealed" },
		})
	}
	var found []condition
	for _, m := range matters {
		found = append(found, m.seen(events)...)
	}
	return found
}

// matter is what may be the matter, by the states of all subjects of a kind.
type matter struct {
	what, pod string
	alerts    []string
	kind      timeline.Kind
	// certain tells whether it is so, possible whether it may be.
	certain, possible func(map[string]string) bool
}

// seen are the times in which it was so, and those in which it may have been.
func (m matter) seen(events []timeline.Event) []condition {
	var found []condition
	add := func(holds func(map[string]string) bool, doubt bool) {
		for _, s := range spans(events, m.kind, holds) {
			found = append(found, condition{what: m.what, span: s, alerts: m.alerts, pod: m.pod, doubt: doubt})
		}
	}
	add(m.certain, false)
	add(m.possible, true)
	return found
}

// probed are the events up to the last operation of the load: the probe ends with
// it, while other events go on.
func probed(events []timeline.Event) []timeline.Event {
	for i, e := range slices.Backward(events) {
		if e.Kind == timeline.Operation {
			return events[:i+1]
		}
	}
	return nil
}

// watched is the time in which the probe saw every pod.
func watched(events []timeline.Event) span {
	events = probed(events)
	var s span
	for _, pod := range subjects(events, timeline.Seal) {
		first := slices.IndexFunc(events, func(e timeline.Event) bool { return e.Kind == timeline.Seal && e.Subject == pod })
		if at := events[first].At; at.After(s.from) {
			s.from = at
		}
	}
	if len(events) > 0 {
		s.to = events[len(events)-1].At
	}
	return s
}

// spans are the times in which the states of all subjects of a kind fit. A state
// holds until the next event; what holds at the end lasts until the last event.
func spans(events []timeline.Event, kind timeline.Kind, holds func(map[string]string) bool) []span {
	states := map[string]string{}
	var found []span
	var since, last time.Time
	for _, e := range events {
		last = e.At
		if e.Kind != kind {
			continue
		}
		states[e.Subject] = e.Value
		switch now := holds(states); {
		case now && since.IsZero():
			since = e.At
		case !now && !since.IsZero():
			found = append(found, span{since, e.At})
			since = time.Time{}
		}
	}
	if !since.IsZero() {
		found = append(found, span{since, last})
	}
	return found
}

func subjects(events []timeline.Event, kind timeline.Kind) []string {
	var names []string
	for _, e := range events {
		if e.Kind == kind {
			names = append(names, e.Subject)
		}
	}
	slices.Sort(names)
	return slices.Compact(names)
}

func count(states map[string]string, value string) int {
	n := 0
	for _, v := range states {
		if v == value {
			n++
		}
	}
	return n
}

// waits is the longest waiting time of its alerts' rules.
func (c condition) waits(rules alert.Rules) time.Duration {
	var longest time.Duration
	for _, name := range c.alerts {
		if rule, ok := rules.Named(name); ok {
			longest = max(longest, rule.For)
		}
	}
	return longest
}

// demands tells whether it lasted so long that an alert must have fired.
func (c condition) demands(rules alert.Rules) bool {
	return !c.doubt && c.to.Sub(c.from) > c.waits(rules)+alertLatency
}

// covers tells whether an alert that fired is about this condition.
func (c condition) covers(f alert.Firing) bool {
	return slices.Contains(c.alerts, f.Alert) && (c.pod == "" || f.Labels["pod"] == c.pod) &&
		!f.Since.After(c.to.Add(alertLatency)) && (f.Until.IsZero() || !f.Until.Before(c.from))
}

// rang judges that what lasted raised an alert in time, and that something did.
func rang(conditions []condition, rules alert.Rules, fired []alert.Firing) error {
	var errs []error
	demanded := 0
	for _, c := range conditions {
		if !c.demands(rules) {
			continue
		}
		demanded++
		deadline := c.from.Add(c.waits(rules) + alertLatency)
		if !slices.ContainsFunc(fired, func(f alert.Firing) bool { return c.covers(f) && !f.At.After(deadline) }) {
			errs = append(errs, fmt.Errorf("%s from %s to %s, and by %s no alert of %s had fired on the metrics of that time; want one within %s",
				c.what, trial.Clock(c.from), trial.Clock(c.to), trial.Clock(deadline), strings.Join(c.alerts, ", "), deadline.Sub(c.from)))
		}
	}
	if demanded == 0 {
		errs = append(errs, errors.New("nothing lasted long enough in this run for an alert to fire: its silence shows nothing"))
	}
	return errors.Join(errs...)
}

// noFalseAlarm judges that alerts of what the probe sees too fired only when it
// was so, or may have been. Of the time when it did not watch nothing is known.
func noFalseAlarm(conditions []condition, watched span, fired []alert.Firing) error {
	var errs []error
	for _, f := range fired {
		if !slices.Contains(slices.Concat(sealAlerts, noActiveAlerts, twoActive), f.Alert) || f.Since.Before(watched.from) || f.Since.After(watched.to) {
			continue
		}
		if !slices.ContainsFunc(conditions, func(c condition) bool { return c.covers(f) }) {
			errs = append(errs, fmt.Errorf("alert %s fired at %s for %s, and the probe saw nothing of the kind then: a false alarm", f.Alert, trial.Clock(f.At), subjectOf(f)))
		}
	}
	return errors.Join(errs...)
}

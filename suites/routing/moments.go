package routing

import (
	"slices"
	"strings"
	"time"

	"github.com/vaultproof/vaultproof/pkg/timeline"
	"github.com/vaultproof/vaultproof/suites/trial"
)

// span is a time in which something held, [from, to).
type span struct{ from, to time.Time }

// held finds when the state of a subject was one that is accepts, between from
// and to. Events are in order of time; a state holds until the next event.
func held(events []timeline.Event, kind timeline.Kind, subject string, is func(value string) bool, from, to time.Time) []span {
	var spans []span
	var since time.Time // zero while it does not hold
	end := func(at time.Time) {
		if !since.IsZero() && since.Before(at) {
			spans = append(spans, span{since, at})
		}
		since = time.Time{}
	}
	for _, e := range events {
		if e.Kind != kind || e.Subject != subject || !e.At.Before(to) {
			continue
		}
		at := e.At
		if at.Before(from) {
			at = from
		}
		switch holds := is(e.Value); {
		case holds && since.IsZero():
			since = at
		case !holds:
			end(at)
		}
	}
	end(to)
	return spans
}

// labelled is when a pod bore vault-active=true.
func labelled(events []timeline.Event, pod string, from, to time.Time) []span {
	return held(events, timeline.Label, pod, func(v string) bool { return v == "true" }, from, to)
}

// listed is when a pod was a ready endpoint of a Service.
func listed(events []timeline.Event, service, pod string, from, to time.Time) []span {
	return held(events, timeline.Endpoints, service, func(v string) bool {
		return slices.Contains(strings.Split(v, ","), pod)
	}, from, to)
}

// lastEnd is when the last of the spans ended; from if there is none.
func lastEnd(spans []span, from time.Time) time.Time {
	last := from
	for _, s := range spans {
		if s.to.After(last) {
			last = s.to
		}
	}
	return last
}

// successor is the first pod but the old active to become active after a fault,
// and when it said so.
func successor(events []timeline.Event, old string, from, to time.Time) (pod string, at time.Time) {
	for _, e := range events {
		if e.Kind == timeline.Leader && e.Value == "active" && e.Subject != old && !e.At.Before(from) && e.At.Before(to) {
			return e.Subject, e.At
		}
	}
	return "", time.Time{}
}

// rightful is until when the pod that was hit has no right to be routed to: it
// is active again after it was something else by its own word, or the trial is
// over. Being out of reach for a while is no loss of that right.
func rightful(res trial.Result) time.Time {
	lost := false
	for _, e := range res.Events {
		if e.Kind != timeline.Leader || e.Subject != res.Active || e.At.Before(res.At) || !e.At.Before(res.End) {
			continue
		}
		if lost && e.Value == "active" {
			return e.At
		}
		lost = lost || e.Value == "standby" || e.Value == "sealed"
	}
	return res.End
}

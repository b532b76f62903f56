package probe

import (
	"slices"
	"strings"
	"time"

	"github.com/vaultproof/vaultproof/pkg/report"
	"github.com/vaultproof/vaultproof/pkg/timeline"
)

// Hit says what a fault struck.
type Hit struct {
	// At is when the fault was injected, Until the end of what is looked at;
	// zero means everything after At.
	At, Until time.Time
	// Active is the pod that was active then.
	Active string
	// Pod is the pod whose unsealing is awaited; empty means Active.
	Pod string
	// Service is the Service that routes to the active pod; empty means
	// vault-active.
	Service string
}

// Phases reads from the timeline when each milestone of a recovery came, in
// milliseconds after the fault. events must reach back to before it, since a
// state holds from its last change.
//
//   - detected: a pod other than the old active misses it, or the old one
//     itself says that it is active no more. If no pod said so in time to be
//     seen: the first operation that failed.
//   - elected: a pod says that it is active, which it was not before.
//   - labelled: that pod alone bears the label vault-active=true. Vault sets
//     the label while it takes over, so this may come before elected.
//   - routed: the Service has that pod as its only ready endpoint.
//   - firstWrite: the first write that this pod acknowledged.
//   - unsealed: the pod that was hit is unsealed after it was not.
func Phases(events []timeline.Event, hit Hit) report.Phases {
	if hit.Service == "" {
		hit.Service = "vault-active"
	}
	if hit.Pod == "" {
		hit.Pod = hit.Active
	}
	events = slices.Clone(events)
	timeline.Sort(events)
	if !hit.Until.IsZero() {
		events = slices.DeleteFunc(events, func(e timeline.Event) bool { return !e.At.Before(hit.Until) })
	}
	var p report.Phases
	set := func(to **float64, at time.Time) {
		if !at.IsZero() {
			*to = report.MS(float64(at.Sub(hit.At)) / float64(time.Millisecond))
		}
	}
	elections := electionsIn(events, hit)
	set(&p.Detected, detected(events, hit))
	set(&p.Unsealed, unsealed(events, hit))
	if len(elections) > 0 {
		set(&p.Elected, elections[0].at)
	}
	// If the first that was elected lost it again before it was labelled, the
	// next counts.
	for _, e := range elections {
		if p.Labelled == nil {
			set(&p.Labelled, settled(events, hit, e, timeline.Label))
		}
		if p.Routed == nil {
			set(&p.Routed, settled(events, hit, e, timeline.Endpoints))
		}
	}
	set(&p.FirstWrite, firstWrite(events, hit, elections))
	return p
}

// election is a pod becoming active.
type election struct {
	pod string
	at  time.Time
}

// electionsIn finds the pods that became active after the hit. The old active
// counts if it said in between that it was something else; that it was out of
// reach for a while is not enough.
func electionsIn(events []timeline.Event, hit Hit) []election {
	var found []election
	lost := false // the old active has said that it is not
	for _, e := range events {
		if e.Kind != timeline.Leader || e.At.Before(hit.At) {
			continue
		}
		old := e.Subject == hit.Active
		switch {
		case e.Value == "active" && (!old || lost):
			found = append(found, election{e.Subject, e.At})
		case old && (e.Value == "standby" || e.Value == "sealed"):
			lost = true
		}
	}
	return found
}

func detected(events []timeline.Event, hit Hit) time.Time {
	var firstFailure time.Time
	for _, e := range events {
		if e.At.Before(hit.At) {
			continue
		}
		if e.Kind == timeline.Operation && !e.OK && firstFailure.IsZero() {
			firstFailure = e.At
		}
		if e.Kind != timeline.Leader {
			continue
		}
		if e.Subject == hit.Active {
			if e.Value == "standby" || e.Value == "sealed" {
				return e.At
			}
			continue
		}
		known, says := strings.CutPrefix(e.Detail, "knows ")
		if e.Value == "active" || (e.Value == "standby" && says && known != hit.Active) {
			return e.At
		}
	}
	return firstFailure
}

// unsealed finds when the pod that was hit is unsealed again.
func unsealed(events []timeline.Event, hit Hit) time.Time {
	was := false // it has been something else since the hit
	for _, e := range events {
		if e.Kind != timeline.Seal || e.Subject != hit.Pod || e.At.Before(hit.At) {
			continue
		}
		if e.Value == "unsealed" && was {
			return e.At
		}
		was = was || e.Value != "unsealed"
	}
	return time.Time{}
}

// settled finds when an elected pod alone bore the label, or alone was the
// endpoint of the Service.
func settled(events []timeline.Event, hit Hit, who election, kind timeline.Kind) time.Time {
	from := hit.At
	if who.pod == hit.Active {
		from = who.at // until it was elected again, it bore both from before
	}
	holders := map[string]bool{}
	alone := func() bool { return len(holders) == 1 && holders[who.pod] }
	for _, e := range events {
		// The state so far held until this event.
		if !e.At.Before(from) && alone() {
			return from
		}
		switch {
		case e.Kind != kind:
			continue
		case kind == timeline.Label && e.Value == "true":
			holders[e.Subject] = true
		case kind == timeline.Label:
			delete(holders, e.Subject)
		case e.Subject == hit.Service:
			clear(holders)
			for pod := range strings.SplitSeq(e.Value, ",") {
				holders[pod] = true
			}
		}
		if !e.At.Before(from) && alone() {
			return e.At
		}
	}
	if alone() { // and nothing happened since from
		return from
	}
	return time.Time{}
}

// firstWrite finds the first answer to a write by a pod that was elected. If
// Vault does not tell who answers, any write due after an election counts.
func firstWrite(events []timeline.Event, hit Hit, elections []election) time.Time {
	var first time.Time
	for _, e := range events {
		if e.Kind != timeline.Operation || e.Subject != "write" || !e.OK || e.At.Before(hit.At) {
			continue
		}
		answered := e.At.Add(time.Duration(e.LatencyMS * float64(time.Millisecond)))
		by := slices.ContainsFunc(elections, func(el election) bool {
			if e.Value == "" || e.Value == hit.Active {
				return (e.Value == "" || el.pod == e.Value) && !e.At.Before(el.at)
			}
			return e.Value == el.pod
		})
		if by && (first.IsZero() || answered.Before(first)) {
			first = answered
		}
	}
	return first
}

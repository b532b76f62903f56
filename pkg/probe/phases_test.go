package probe

import (
	"testing"

	"github.com/vaultproof/vaultproof/pkg/report"
	"github.com/vaultproof/vaultproof/pkg/timeline"
)

func event(ms float64, kind timeline.Kind, subject, value string, detail ...string) timeline.Event {
	e := timeline.Event{At: at(ms), Kind: kind, Subject: subject, Value: value}
	if len(detail) > 0 {
		e.Detail = detail[0]
	}
	return e
}

// failover is what a SIGKILL of vault-0 at 1000 ms looks like.
func failover() []timeline.Event {
	events := []timeline.Event{
		event(0, timeline.Leader, "vault-0", "active"),
		event(0, timeline.Leader, "vault-1", "standby", "knows vault-0"),
		event(0, timeline.Leader, "vault-2", "standby", "knows vault-0"),
		event(0, timeline.Seal, "vault-0", "unsealed"),
		event(0, timeline.Label, "vault-0", "true"),
		event(0, timeline.Label, "vault-1", "false"),
		event(0, timeline.Endpoints, "vault-active", "vault-0"),
		event(1020, timeline.Leader, "vault-0", "unreachable"),
		event(1020, timeline.Seal, "vault-0", "unreachable"),
		event(2500, timeline.Leader, "vault-1", "standby", "knows no active"),
		event(2700, timeline.Label, "vault-1", "true"),
		event(2750, timeline.Endpoints, "vault-active", "vault-0,vault-1"),
		event(2800, timeline.Leader, "vault-1", "active"),
		event(2900, timeline.Label, "vault-0", "false"),
		event(2950, timeline.Endpoints, "vault-active", "vault-1"),
		event(3500, timeline.Leader, "vault-0", "sealed"),
		event(3500, timeline.Seal, "vault-0", "sealed"),
		event(4000, timeline.Seal, "vault-0", "unsealed"),
		event(4100, timeline.Leader, "vault-0", "standby", "knows vault-1"),
	}
	events = append(events, traffic(0, 1000, func(float64) (bool, float64) { return true, 3 })...)
	events = append(events, traffic(1000, 2960, func(float64) (bool, float64) { return false, 1 })...)
	for _, e := range traffic(2960, 6000, func(float64) (bool, float64) { return true, 3 }) {
		e.Value = "vault-1"
		events = append(events, e)
	}
	return events
}

func check(t *testing.T, name string, got report.Phases, want map[string]float64) {
	t.Helper()
	for phase, value := range map[string]*float64{
		"detected": got.Detected, "elected": got.Elected, "labelled": got.Labelled,
		"routed": got.Routed, "firstWrite": got.FirstWrite, "unsealed": got.Unsealed,
	} {
		ms, wanted := want[phase]
		switch {
		case value == nil && wanted:
			t.Errorf("%s: %s was not seen, want %v ms", name, phase, ms)
		case value != nil && !wanted:
			t.Errorf("%s: %s was seen at %v ms, want nothing", name, phase, *value)
		case value != nil && *value != ms:
			t.Errorf("%s: %s came at %v ms, want %v", name, phase, *value, ms)
		}
	}
}

func TestPhases(t *testing.T) {
	hit := Hit{At: at(1000), Active: "vault-0"}
	check(t, "SIGKILL", Phases(failover(), hit), map[string]float64{
		"detected": 1500, "elected": 1800, "labelled": 1900, "routed": 1950, "firstWrite": 1963, "unsealed": 3000,
	})
	until := hit
	until.Until = at(2850)
	check(t, "cut short", Phases(failover(), until), map[string]float64{"detected": 1500, "elected": 1800})
	other := hit
	other.Pod, other.Service = "vault-2", "vault-ui"
	check(t, "another pod and service", Phases(failover(), other), map[string]float64{
		"detected": 1500, "elected": 1800, "labelled": 1900, "firstWrite": 1963,
	})
}

func TestPhasesOfWhatDidNotHappen(t *testing.T) {
	hit := Hit{At: at(1000), Active: "vault-0"}
	check(t, "no events", Phases(nil, hit), nil)
	check(t, "nothing but steady state", Phases(traffic(0, 6000, func(float64) (bool, float64) { return true, 3 }), hit), nil)
	check(t, "a fault long after", Phases(failover(), Hit{At: at(9000), Active: "vault-1"}), nil)

	// The old active keeps its label, and the Service routes to both.
	var stale []timeline.Event
	for _, e := range failover() {
		if e.At.Equal(at(2900)) && e.Kind == timeline.Label || e.At.Equal(at(2950)) && e.Kind == timeline.Endpoints {
			continue
		}
		stale = append(stale, e)
	}
	check(t, "a stale label", Phases(stale, hit), map[string]float64{
		"detected": 1500, "elected": 1800, "firstWrite": 1963, "unsealed": 3000,
	})
}

func TestPhasesWithoutElection(t *testing.T) {
	// The active is out of the prober's reach for a second; nobody else minds.
	events := []timeline.Event{
		event(0, timeline.Leader, "vault-0", "active"),
		event(0, timeline.Label, "vault-0", "true"),
		event(1100, timeline.Leader, "vault-0", "unreachable"),
		event(2100, timeline.Leader, "vault-0", "active"),
	}
	events = append(events, traffic(1000, 2100, func(float64) (bool, float64) { return false, 1 })...)
	check(t, "a blink", Phases(events, Hit{At: at(1000), Active: "vault-0"}), map[string]float64{"detected": 0})
}

func TestPhasesWhenTheSamePodIsElectedAgain(t *testing.T) {
	events := []timeline.Event{
		event(0, timeline.Leader, "vault-0", "active"),
		event(0, timeline.Label, "vault-0", "true"),
		event(0, timeline.Endpoints, "vault-active", "vault-0"),
		event(1200, timeline.Leader, "vault-0", "standby", "knows no active"),
		event(2000, timeline.Leader, "vault-0", "active"),
	}
	events = append(events, traffic(1000, 1500, func(float64) (bool, float64) { return true, 3 })...)
	events = append(events, traffic(2010, 3000, func(float64) (bool, float64) { return true, 3 })...)
	check(t, "elected again", Phases(events, Hit{At: at(1000), Active: "vault-0", Until: at(5000)}), map[string]float64{
		"detected": 200, "elected": 1000, "labelled": 1000, "routed": 1000, "firstWrite": 1013,
	})
}

func TestPhasesWhenTheFirstElectedFallsToo(t *testing.T) {
	events := failover()
	for i := range events {
		e := &events[i]
		// vault-1 never gets what it should; vault-2 takes over at 3200.
		if e.Subject == "vault-1" && e.Kind == timeline.Label {
			e.Value = "false"
		}
		if e.Value == "vault-1" || e.Value == "vault-0,vault-1" {
			e.Value = "vault-0"
		}
	}
	events = append(events, event(3200, timeline.Leader, "vault-2", "active"), event(3250, timeline.Label, "vault-2", "true"),
		event(3260, timeline.Endpoints, "vault-active", "vault-2"))
	got := Phases(events, Hit{At: at(1000), Active: "vault-0"})
	check(t, "two elections", got, map[string]float64{
		"detected": 1500, "elected": 1800, "labelled": 2250, "routed": 2260, "unsealed": 3000,
	})
}

func TestPhasesWithoutHostnames(t *testing.T) {
	events := failover()
	for i := range events {
		if events[i].Kind == timeline.Operation {
			events[i].Value = ""
		}
	}
	got := Phases(events, Hit{At: at(1000), Active: "vault-0"})
	if got.FirstWrite == nil || *got.FirstWrite != 1963 {
		t.Errorf("the first write came at %v, want 1963 ms", got.FirstWrite)
	}
}

package routing

import (
	"testing"
	"time"

	"github.com/vaultproof/vaultproof/pkg/timeline"
	"github.com/vaultproof/vaultproof/suites/trial"
)

// noon is the instant that the timelines of all tests count from.
var noon = time.Date(2026, 5, 1, 12, 0, 0, 0, time.UTC)

func sec(s float64) time.Time { return noon.Add(time.Duration(s * float64(time.Second))) }

func event(kind timeline.Kind, subject, value string, at float64) timeline.Event {
	return timeline.Event{Kind: kind, Subject: subject, Value: value, At: sec(at)}
}

func leader(pod, value string, at float64) timeline.Event {
	return event(timeline.Leader, pod, value, at)
}

func label(pod, value string, at float64) timeline.Event {
	return event(timeline.Label, pod, value, at)
}

func endpoints(pods string, at float64) timeline.Event {
	return event(timeline.Endpoints, "vault-active", pods, at)
}

func TestHeld(t *testing.T) {
	events := []timeline.Event{
		label("a", "true", -10), label("b", "true", 1), label("a", "false", 2), label("a", "true", 4), label("a", "true", 5), label("a", "gone", 6), label("a", "true", 20),
	}
	got := labelled(events, "a", sec(0), sec(10))
	want := []span{{sec(0), sec(2)}, {sec(4), sec(6)}}
	if len(got) != 2 || !got[0].from.Equal(want[0].from) || !got[0].to.Equal(want[0].to) || !got[1].from.Equal(want[1].from) || !got[1].to.Equal(want[1].to) {
		t.Errorf("spans %v, want %v", got, want)
	}
	if got := labelled(events, "a", sec(0), sec(1)); len(got) != 1 || !got[0].to.Equal(sec(1)) {
		t.Errorf("a state that holds on: %v, want one span to the end", got)
	}
	if got := labelled(events, "a", sec(7), sec(8)); len(got) != 0 {
		t.Errorf("a state that was over: %v", got)
	}
	if got := listed([]timeline.Event{endpoints("vault-1,vault-10", 0), endpoints("vault-10", 1)}, "vault-active", "vault-1", sec(0), sec(5)); len(got) != 1 || !got[0].to.Equal(sec(1)) {
		t.Errorf("endpoints: %v, want vault-1 for one second", got)
	}
}

func TestRightful(t *testing.T) {
	res := trial.Result{Active: "a", At: sec(0), End: sec(60), Events: []timeline.Event{
		leader("a", "active", -60), leader("a", "unreachable", 0.2), leader("a", "active", 0.4), leader("a", "unreachable", 1),
	}}
	if got := rightful(res); !got.Equal(sec(60)) {
		t.Errorf("a pod that was out of reach for a moment is active by right from %v on", got)
	}
	res.Events = append(res.Events, leader("a", "sealed", 10), leader("a", "active", 20))
	if got := rightful(res); !got.Equal(sec(20)) {
		t.Errorf("elected again at %v, want 20 s", got)
	}
}

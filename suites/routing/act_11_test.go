package routing

import (
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/vaultproof/vaultproof/pkg/timeline"
)

func op(pod string, ok bool, due float64, latencyMS float64) timeline.Event {
	return timeline.Event{Kind: timeline.Operation, Subject: "read", Value: pod, OK: ok, At: sec(due), LatencyMS: latencyMS, Detail: "HTTP 503 Vault is sealed"}
}

func TestEarlyLabels(t *testing.T) {
	found := []timeline.Event{leader("a", "active", -2), label("a", "true", -1)}
	for name, c := range map[string]struct {
		events []timeline.Event
		want   string
	}{
		"active first":           {[]timeline.Event{leader("b", "active", 9.9), label("b", "true", 10), op("b", true, 10.1, 20)}, ""},
		"shortly before":         {[]timeline.Event{label("b", "true", 10), leader("b", "active", 10.3), op("b", true, 10.4, 20)}, ""},
		"an answer shows it":     {[]timeline.Event{label("b", "true", 10), op("b", true, 10.1, 100), leader("b", "active", 12)}, ""},
		"a failure elsewhere":    {[]timeline.Event{label("b", "true", 10), op("a", false, 10.1, 10), op("", false, 10.1, 10), leader("b", "active", 10.3)}, ""},
		"set by hand":            {[]timeline.Event{event(timeline.Fault, "ACT-10#1", "injecting", 9), label("b", "true", 10), label("b", "false", 13), event(timeline.Fault, "ACT-10#1", "recovered", 14)}, ""},
		"taken back at once":     {[]timeline.Event{label("b", "true", 10), label("b", "false", 10.5)}, ""},
		"much too early":         {[]timeline.Event{label("b", "true", 10), leader("b", "active", 12)}, "pod b was labelled active at 12:00:10.000 and could serve 2s later"},
		"never served":           {[]timeline.Event{label("b", "true", 10), label("b", "false", 15)}, "from 12:00:10.000 to 12:00:15.000 and could not serve"},
		"failed on it meanwhile": {[]timeline.Event{label("b", "true", 10), op("b", false, 10.1, 50), leader("b", "active", 10.5)}, "1 operations failed on pod b"},
	} {
		events := append(found[:2:2], c.events...)
		for i := range events {
			if events[i].Kind == timeline.Fault {
				events[i].Detail = "label-tamper of b"
			}
		}
		events = append(events, event(timeline.Note, "end", "", 60))
		timeline.Sort(events)
		var errs []error
		for _, p := range publications(events) {
			errs = append(errs, p.early(time.Second))
		}
		err := errors.Join(errs...)
		if (c.want == "") != (err == nil) || err != nil && !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %v, want %q", name, err, c.want)
		}
	}
}

func TestPublicationsAreCounted(t *testing.T) {
	events := []timeline.Event{leader("a", "active", 0), label("a", "true", 1), label("a", "false", 10), label("b", "true", 11), leader("b", "active", 11.1), event(timeline.Note, "end", "", 20)}
	if got := publications(events); len(got) != 2 {
		t.Errorf("%d publications, want those of a and b", len(got))
	}
	if got := publications(nil); len(got) != 0 {
		t.Errorf("%d publications in an empty timeline", len(got))
	}
}

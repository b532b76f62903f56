package probe

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/vaultproof/vaultproof/pkg/timeline"
)

// script makes events of lines such as "120 leader vault-0 active": milliseconds,
// kind, subject, value. A gap has its length for a value, an operation the pod that
// answered and after how long: "200 op write vault-0 5".
func script(t *testing.T, text string) []timeline.Event {
	t.Helper()
	var events []timeline.Event
	for line := range strings.Lines(text) {
		var ms, long float64
		var e timeline.Event
		if strings.TrimSpace(line) == "" {
			continue
		}
		if n, _ := fmt.Sscan(line, &ms, &e.Kind, &e.Subject, &e.Value, &long); n < 4 {
			t.Fatalf("not an event: %s", line)
		}
		e.At, e.LatencyMS = instant(ms), long
		switch e.Kind {
		case timeline.Gap:
			_, _ = fmt.Sscan(e.Value, &e.LatencyMS)
			e.Value = ""
		case timeline.Operation:
			e.OK = true
		}
		if e.Value == "-" {
			e.Value = ""
		}
		events = append(events, e)
	}
	return events
}

var midnight = time.Date(2026, 11, 23, 0, 0, 0, 0, time.UTC)

func instant(ms float64) time.Time {
	return midnight.Add(time.Duration(ms * float64(time.Millisecond)))
}

const steady = `
0 leader vault-0 active
0 leader vault-1 standby
0 leader vault-2 standby
0 label vault-0 true
0 label vault-1 false
0 label vault-2 false
0 endpoints vault-active vault-0
`

// killed is a kill at 1000, an election at 3000, and routing that follows.
const killed = steady + `
1000 leader vault-0 unreachable
2990 label vault-1 true
3000 leader vault-1 active
3100 label vault-0 false
3200 endpoints vault-active vault-1
`

func TestRouteTellsHowManyWereActive(t *testing.T) {
	for name, c := range map[string]struct {
		events                  string
		zero, one, two, unknown int
		astray, mislabelled     int
		strays, answers         int
	}{
		"steady":               {events: steady, one: 10000},
		"nothing at all":       {events: "0 label vault-0 true", unknown: 10000},
		"a failover":           {events: killed, zero: 2000, one: 8000, astray: 200, mislabelled: 100},
		"no successor":         {events: steady + "4000 leader vault-0 sealed", zero: 6000, one: 4000},
		"two at a time":        {events: steady + "2000 leader vault-2 active\n2040 leader vault-0 standby\n2040 endpoints vault-active vault-2\n2040 label vault-0 false\n2040 label vault-2 true", one: 9960, two: 40},
		"two, cut off":         {events: killed + "3000 leader vault-0 active\n3500 leader vault-0 standby\n", zero: 2000, one: 7500, two: 500},
		"a gap of the active":  {events: steady + "5000 gap vault-0 300", one: 9700, unknown: 300},
		"a gap of a standby":   {events: steady + "5000 gap vault-1 300", one: 9700, unknown: 300},
		"gaps that overlap":    {events: steady + "5000 gap vault-1 300\n5200 gap vault-2 300", one: 9500, unknown: 500},
		"two and a gap":        {events: steady + "5000 leader vault-1 active\n5000 gap vault-2 100\n5100 leader vault-1 standby", one: 9900, two: 100},
		"a gap over a change":  {events: steady + "5000 gap vault-0 300\n5300 leader vault-0 standby\n5400 leader vault-1 active", zero: 100, one: 9600, unknown: 300, astray: 4600, mislabelled: 4600},
		"a gap past the end":   {events: steady + "9900 gap vault-0 300", one: 9900, unknown: 100},
		"no endpoint":          {events: steady + "6000 endpoints vault-active -", one: 10000, astray: 4000},
		"another Service":      {events: steady + "6000 endpoints vault vault-0,vault-1", one: 10000},
		"another endpoint too": {events: steady + "6000 endpoints vault-active vault-1,vault-0", one: 10000, astray: 4000},
		"out of order":         {events: "3000 leader vault-1 active\n1000 leader vault-0 unreachable" + steady, zero: 2000, one: 8000, astray: 7000, mislabelled: 7000},
	} {
		r := Route(script(t, c.events), "vault-active", instant(0), instant(10000))
		got := []time.Duration{r.Zero, r.One, r.Two, r.Unknown, r.Astray, r.Mislabelled}
		for i, want := range []int{c.zero, c.one, c.two, c.unknown, c.astray, c.mislabelled} {
			if got[i] != time.Duration(want)*time.Millisecond {
				t.Errorf("%s: %s is %s, want %d ms", name, []string{"zero", "one", "two", "unknown", "astray", "mislabelled"}[i], got[i], want)
			}
		}
		if sum := r.Zero + r.One + r.Two + r.Unknown; sum != 10*time.Second {
			t.Errorf("%s: the parts make up %s of 10 s", name, sum)
		}
	}
}

func TestRouteLooksAtItsSpanAlone(t *testing.T) {
	r := Route(script(t, killed), "vault-active", instant(2000), instant(3150))
	if r.Zero != time.Second || r.One != 150*time.Millisecond || r.Astray != 150*time.Millisecond || r.Mislabelled != 100*time.Millisecond {
		t.Errorf("from 2000 to 3150 it is %+v", r)
	}
	events := script(t, killed)
	if Route(events, "vault-active", instant(0), instant(0)); !slices.Equal(events, script(t, killed)) {
		t.Error("it changed the events that it was given")
	}
}

func TestStrays(t *testing.T) {
	for name, c := range map[string]struct {
		events string
		strays string // pod: what it said / who was active
	}{
		"by the active":             {steady + "500 op read vault-0 5", ""},
		"by a standby":              {steady + "500 op read vault-1 5", "vault-1: standby / vault-0"},
		"by one that has no name":   {steady + "500 op read - 5", ""},
		"by one that is not known":  {steady + "500 op read vault-7 5", "vault-7:  / vault-0"},
		"by one not known, alone":   {killed + "2000 op read vault-7 5", ""},
		"just before its end":       {killed + "990 op write vault-0 8", ""},
		"just before it was seen":   {killed + "2900 op write vault-1 60", ""},
		"long before it was seen":   {killed + "2000 op write vault-1 60", "vault-1: standby / "},
		"stuck until the successor": {killed + "1500 op write vault-1 1600", ""},
		"by one that is silent":     {killed + "2000 op write vault-0 5", ""}, // nobody else was active
		"by one that was replaced":  {killed + "4000 op write vault-0 5", "vault-0: unreachable / vault-1"},
		"in a gap":                  {steady + "500 gap vault-1 200\n600 op read vault-1 5", ""},
		"after a gap":               {steady + "500 gap vault-1 200\n800 op read vault-1 5", "vault-1: standby / vault-0"},
		"by one of two":             {killed + "3000 leader vault-0 active\n4000 op read vault-0 5\n4000 op read vault-1 5", ""},
		"sealed":                    {steady + "400 leader vault-2 sealed\n600 op read vault-2 5", "vault-2: sealed / vault-0"},
	} {
		r := Route(script(t, c.events), "vault-active", instant(0), instant(10000))
		var got []string
		for _, s := range r.Strays {
			got = append(got, fmt.Sprintf("%s: %s / %s", s.Pod, strings.Join(s.Said, ","), strings.Join(s.Active, ",")))
		}
		if strings.Join(got, "; ") != c.strays {
			t.Errorf("%s: strays %q, want %q", name, got, c.strays)
		}
	}
	r := Route(script(t, steady+"500 op read vault-1 5\n600 op write vault-0 5\n700 op read - 5\n20000 op read vault-1 5"), "vault-active", instant(0), instant(10000))
	if r.Answers != 2 || len(r.Strays) != 1 || r.Strays[0].At != instant(505) || r.Strays[0].Operation != "read" {
		t.Errorf("answers %d, strays %+v", r.Answers, r.Strays)
	}
	failed := script(t, steady+"500 op read vault-1 5")
	failed[len(failed)-1].OK = false
	if r := Route(failed, "vault-active", instant(0), instant(10000)); len(r.Strays) != 0 {
		t.Error("a refusal by a standby counts as a stray answer")
	}
}

func TestMeasurementsOfRouting(t *testing.T) {
	got := Route(script(t, killed+"4000 op write vault-0 5\n5000 gap vault-2 100"), "vault-active", instant(0), instant(10000)).Measurements()
	for name, want := range map[string]float64{
		"zero_active_ms": 2000, "one_active_ms": 7900, "two_active_ms": 0, "unknown_active_ms": 100,
		"astray_ms": 200, "mislabelled_ms": 100, "stray_answers_total": 1,
	} {
		if value, there := got[name]; !there || value != want {
			t.Errorf("%s is %g, want %g", name, value, want)
		}
	}
}

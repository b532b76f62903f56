package report

import (
	"encoding/binary"
	"math"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/vaultproof/vaultproof/pkg/timeline"
)

func laneOf(t *testing.T, c *chart, group, pod string) []state {
	t.Helper()
	for _, g := range c.Lanes {
		if g.Name != group {
			continue
		}
		for _, row := range g.Rows {
			if row.Name == pod {
				return row.Spans
			}
		}
	}
	t.Fatalf("no row of %s in %q", pod, group)
	return nil
}

func TestChartCountsEveryOperation(t *testing.T) {
	events := sampleEvents(sampleLength)
	want, failed := 0, 0
	for _, e := range events {
		if e.Kind == timeline.Operation {
			want++
			if !e.OK {
				failed++
			}
		}
	}
	ops := chartOf(sampleReport(), events).Ops
	got, bad := 0, 0
	for i := 0; i < len(ops.OK); i += 2 {
		got += int(binary.LittleEndian.Uint16(ops.OK[i:]))
	}
	for i := 1; i < len(ops.Bad); i += 3 {
		bad += ops.Bad[i]
	}
	if got+bad != want || ops.Total != want || bad != failed || ops.Failed != failed {
		t.Errorf("the slices hold %d answers and %d failures (total %d, failed %d), want %d with %d failed", got, bad, ops.Total, ops.Failed, want, failed)
	}
	if len(ops.Errors) != 4 { // two causes, each for reads and for writes
		t.Errorf("errors %q, want four, whatever the client's port was", ops.Errors)
	}
}

func TestFailuresStandWhereTheyHappened(t *testing.T) {
	var events []timeline.Event
	for i := range 100 { // one every 100 ms; those of the 20th to 29th slice fail
		e := timeline.Event{At: sampleStart.Add(time.Duration(i) * 100 * time.Millisecond), Kind: timeline.Operation, Subject: "read", OK: i < 20 || i >= 30}
		events = append(events, e)
	}
	ops := chartOf(&Report{}, events).Ops
	slice := 0
	for i := 0; i < len(ops.Bad); i += 3 {
		slice += ops.Bad[i]
		if want := 10 + 20 + i/3; slice != want || ops.Bad[i+1] != 1 { // the axis begins a second before
			t.Errorf("%d failures in slice %d, want 1 in %d", ops.Bad[i+1], slice, want)
		}
	}
	if len(ops.Bad) != 30 {
		t.Errorf("%d slices with failures, want 10", len(ops.Bad)/3)
	}
}

func TestQuantilesOfEveryLevel(t *testing.T) {
	var events []timeline.Event
	for i := range 200_000 { // 100 a second; a hundred of 2 ms to one of 900 ms
		e := timeline.Event{At: sampleStart.Add(time.Duration(i) * 10 * time.Millisecond), Kind: timeline.Operation, Subject: "read", OK: true, LatencyMS: 2}
		if i%50 == 0 {
			e.LatencyMS = 900
		}
		events = append(events, e)
	}
	ops := chartOf(&Report{}, events).Ops
	if n := len(ops.Levels); n != 5 {
		t.Fatalf("%d levels over %d slices, want 5", n, len(ops.OK)/2)
	}
	near := func(value byte, ms float64) bool { return math.Abs(latencyScale.ms(value)/ms-1) < 0.03 }
	for i, level := range ops.Levels {
		if want := 100 * math.Pow(4, float64(i)); level.Width != want {
			t.Errorf("level %d has slices of %v ms, want %v", i, level.Width, want)
		}
		middle := len(level.P50) / 2
		if !near(level.P50[middle], 2) {
			t.Errorf("level %d: a median of %v ms, want 2", i, latencyScale.ms(level.P50[middle]))
		}
		// Two of a hundred are slow, so the 99th percentile of a hundred or more is.
		if level.Width >= 1000 && (!near(level.P99[middle], 900) || !near(level.Max[middle], 900)) {
			t.Errorf("level %d: p99 %v ms, slowest %v ms, want 900", i, latencyScale.ms(level.P99[middle]), latencyScale.ms(level.Max[middle]))
		}
		if level.Width < 1000 && level.P50[0] != 0 { // the axis begins a second before
			t.Errorf("level %d says a latency where nothing was answered", i)
		}
	}
}

func TestLatencyScale(t *testing.T) {
	for _, ms := range []float64{0.1, 0.34, 1, 7.7, 99, 2000, 59_000} {
		if got := latencyScale.ms(latencyScale.of(ms)); math.Abs(got/ms-1) > 0.03 {
			t.Errorf("%v ms is drawn as %v ms", ms, got)
		}
	}
	for ms, want := range map[float64]byte{0: 1, -5: 1, math.Inf(1): 1, 1e9: 255} {
		if got := latencyScale.of(ms); got != want {
			t.Errorf("%v ms is value %d, want %d", ms, got, want)
		}
	}
}

func TestLongRunsGetWiderSlices(t *testing.T) {
	var events []timeline.Event
	for at := time.Duration(0); at < 9*time.Hour; at += 10 * time.Second {
		events = append(events, timeline.Event{At: sampleStart.Add(at), Kind: timeline.Operation, Subject: "read", OK: true})
	}
	ops := chartOf(&Report{}, events).Ops
	if len(ops.OK)/2 > maxSlices || ops.Width != 500 {
		t.Errorf("%d slices of %v ms, want at most %d of 500 ms", len(ops.OK)/2, ops.Width, maxSlices)
	}
}

func TestStatesHoldUntilTheyChange(t *testing.T) {
	at := func(s int) time.Time { return sampleStart.Add(time.Duration(s) * time.Second) }
	c := chartOf(&Report{}, []timeline.Event{
		{At: at(10), Kind: timeline.Leader, Subject: "vault-1", Value: "active"}, // events may come unsorted
		{At: at(0), Kind: timeline.Leader, Subject: "vault-1", Value: "standby"},
		{At: at(12), Kind: timeline.Leader, Subject: "vault-1", Value: "active"}, // repeated
		{At: at(20), Kind: timeline.Leader, Subject: "vault-1", Value: "unreachable"},
		{At: at(0), Kind: timeline.Endpoints, Subject: "vault-active", Value: "vault-0, vault-1"},
		{At: at(5), Kind: timeline.Endpoints, Subject: "vault-active", Value: ""},
		{At: at(30), Kind: timeline.Seal, Subject: "vault-1", Value: "unsealed"},
	})
	spans := laneOf(t, c, "Active pod", "vault-1")
	want := []state{{1000, 11000, "standby", "off"}, {11000, 21000, "active", "on"}, {21000, 32000, "unreachable", "gone"}}
	if len(spans) != len(want) {
		t.Fatalf("spans %v, want %v", spans, want)
	}
	for i := range want {
		if spans[i] != want[i] {
			t.Errorf("span %d is %v, want %v", i, spans[i], want[i])
		}
	}
	for _, pod := range []string{"vault-0", "vault-1"} {
		if s := laneOf(t, c, "Endpoints of vault-active", pod); s[0].Look != "on" || s[1].Look != "off" || s[0].To != 6000 {
			t.Errorf("%s as endpoint: %v, want ready for 5 s only", pod, s)
		}
	}
}

func TestTermsOfTheActiveAreDrawn(t *testing.T) {
	at := func(s int) time.Time { return sampleStart.Add(time.Duration(s) * time.Second) }
	c := chartOf(&Report{}, []timeline.Event{
		{At: at(0), Kind: timeline.Leader, Subject: "vault-0", Value: "active"},
		{At: at(0), Kind: timeline.Term, Subject: "vault-0", Value: "3"},
		{At: at(2), Kind: timeline.Leader, Subject: "vault-0", Value: "standby"},
		{At: at(2), Kind: timeline.Leader, Subject: "vault-1", Value: "active"},
		{At: at(2), Kind: timeline.Term, Subject: "vault-1", Value: "4"},
		{At: at(5), Kind: timeline.Term, Subject: "vault-0", Value: "5"},
		{At: at(6), Kind: timeline.Leader, Subject: "vault-2", Value: "standby"},
	})
	want := []state{{1000, 3000, "3", "on"}, {3000, 6000, "standby", "off"}, {6000, 8000, "5", "on"}}
	if spans := laneOf(t, c, "Raft term", "vault-0"); !slices.Equal(spans, want) {
		t.Errorf("terms %v, want %v", spans, want)
	}
}

func TestTwoActivesAreBothDrawn(t *testing.T) {
	c := chartOf(&Report{}, []timeline.Event{
		{At: sampleStart, Kind: timeline.Leader, Subject: "vault-0", Value: "active"},
		{At: sampleStart.Add(time.Second), Kind: timeline.Leader, Subject: "vault-1", Value: "active"},
		{At: sampleStart.Add(9 * time.Second), Kind: timeline.Note, Value: "end"},
		{At: sampleStart.Add(3 * time.Second), Kind: timeline.Leader, Subject: "vault-0", Value: "standby"},
	})
	a, b := laneOf(t, c, "Active pod", "vault-0")[0], laneOf(t, c, "Active pod", "vault-1")[0]
	if overlap := a.To - b.From; a.Look != "on" || b.Look != "on" || overlap != 2000 {
		t.Errorf("vault-0 %v and vault-1 %v overlap by %v ms, want 2000", a, b, overlap)
	}
}

func TestAnswersBreakAtASilence(t *testing.T) {
	var events []timeline.Event
	for _, ms := range []int{0, 100, 200, 900, 1000} {
		events = append(events, timeline.Event{At: sampleStart.Add(time.Duration(ms) * time.Millisecond), Kind: timeline.Operation, Subject: "read", Value: "vault-0", OK: true, LatencyMS: 5})
	}
	if spans := laneOf(t, chartOf(&Report{}, events), "Answered by", "vault-0"); len(spans) != 2 || spans[0].To != 1205 || spans[1].From != 1900 {
		t.Errorf("answers %v, want a break between 205 and 900 ms", spans)
	}
}

func TestFaultOfARunThatDied(t *testing.T) {
	c := chartOf(&Report{}, []timeline.Event{
		{At: sampleStart, Kind: timeline.Fault, Subject: "RES-02#1", Value: "injecting", Detail: "process-kill of vault-0"},
		{At: sampleStart.Add(2 * time.Second), Kind: timeline.Operation, Subject: "read", OK: true},
	})
	if len(c.Faults) != 1 || c.Faults[0].To != c.Span {
		t.Errorf("faults %+v, want one in force to the end", c.Faults)
	}
}

func TestNothingToDraw(t *testing.T) {
	if c := chartOf(&Report{}, []timeline.Event{{At: sampleStart, Kind: timeline.Note, Value: "hello"}}); c != nil {
		t.Errorf("a chart of nothing: %+v", c)
	}
}

func TestErrorTextIsShort(t *testing.T) {
	if got := []rune(errorText(strings.Repeat("é", 500))); len(got) != maxErrorText {
		t.Errorf("%d characters, want %d", len(got), maxErrorText)
	}
}

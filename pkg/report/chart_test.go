package report

import (
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
	got := 0
	for i := range ops.OK {
		got += ops.OK[i] + ops.Err[i]
	}
	if got != want || ops.Total != want || ops.Failed != failed {
		t.Errorf("the buckets hold %d operations (total %d, failed %d), want %d with %d failed", got, ops.Total, ops.Failed, want, failed)
	}
	if len(ops.Errors) != 4 { // two causes, each for reads and for writes
		t.Errorf("errors %q, want four, whatever the client's port was", ops.Errors)
	}
}

func TestLongRunsGetWiderBuckets(t *testing.T) {
	var events []timeline.Event
	for at := time.Duration(0); at < 9*time.Hour; at += 10 * time.Second {
		events = append(events, timeline.Event{At: sampleStart.Add(at), Kind: timeline.Operation, Subject: "read", OK: true})
	}
	ops := chartOf(&Report{}, events).Ops
	if len(ops.OK) > maxBuckets || ops.Width != 2000 {
		t.Errorf("%d buckets of %v ms, want at most %d of 2000 ms", len(ops.OK), ops.Width, maxBuckets)
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

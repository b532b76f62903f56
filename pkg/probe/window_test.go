package probe

import (
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/vaultproof/vaultproof/pkg/timeline"
)

var epoch = time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)

// at is a number of milliseconds after epoch.
func at(ms float64) time.Time { return epoch.Add(time.Duration(ms * float64(time.Millisecond))) }

// traffic makes one operation every 10 ms in [from, to), in ms; op decides
// what becomes of it, and at what latency in ms.
func traffic(from, to float64, op func(ms float64) (ok bool, latency float64)) []timeline.Event {
	var events []timeline.Event
	for ms := from; ms < to; ms += 10 {
		ok, latency := op(ms)
		e := timeline.Event{At: at(ms), Kind: timeline.Operation, Subject: "write", Value: "vault-0", OK: ok, LatencyMS: latency}
		if !ok {
			e.Value, e.Detail = "", "connection refused"
		}
		events = append(events, e)
	}
	return events
}

func between(ms, from, to float64) bool { return ms >= from && ms < to }

func TestOutages(t *testing.T) {
	good := func(float64) (bool, float64) { return true, 3 }
	for name, test := range map[string]struct {
		op   func(ms float64) (bool, float64)
		want [][2]float64 // start and end, ms
		open bool         // of the last
	}{
		"none": {good, nil, false},
		"one": {func(ms float64) (bool, float64) { return !between(ms, 1000, 2500), 3 },
			[][2]float64{{1000, 2503}}, false},
		"a single failure": {func(ms float64) (bool, float64) { return ms != 1000, 3 },
			[][2]float64{{1000, 1013}}, false},
		"two, calm between": {func(ms float64) (bool, float64) {
			return !between(ms, 1000, 1500) && !between(ms, 4000, 4200), 3
		}, [][2]float64{{1000, 1503}, {4000, 4203}}, false},
		"successes within do not end it": {func(ms float64) (bool, float64) {
			return !between(ms, 1000, 3000) || int(ms)%200 == 0, 3
		}, [][2]float64{{1010, 3003}}, false},
		"successes just short of calm": {func(ms float64) (bool, float64) {
			return ms != 1000 && ms != 1990, 3
		}, [][2]float64{{1000, 2003}}, false},
		"a stall without any failure": {func(ms float64) (bool, float64) {
			if between(ms, 1000, 2800) {
				return true, 2800 - ms + 5 // all answered when the stall ends
			}
			return true, 3
		}, [][2]float64{{1000, 2803}}, false},
		"stuck operations succeed late": {func(ms float64) (bool, float64) {
			switch {
			case between(ms, 1000, 2000):
				return false, 2000
			case between(ms, 2000, 2500): // waiting in the network until it heals
				return true, 2500 - ms + 4
			default:
				return true, 3
			}
		}, [][2]float64{{1000, 2503}}, false},
		"never over": {func(ms float64) (bool, float64) { return ms < 9000, 3 },
			[][2]float64{{9000, 10000}}, true},
		"all failed": {func(float64) (bool, float64) { return false, 1 },
			[][2]float64{{0, 10000}}, true},
	} {
		events := traffic(0, 10000, test.op)
		windows := Outages(events, at(0), at(10000))
		if len(windows) != len(test.want) {
			t.Errorf("%s: found %v, want %v", name, windows, test.want)
			continue
		}
		for i, w := range windows {
			if !w.Start.Equal(at(test.want[i][0])) || !w.End.Equal(at(test.want[i][1])) {
				t.Errorf("%s: outage %d is %v to %v ms, want %v", name, i,
					w.Start.Sub(epoch).Milliseconds(), w.End.Sub(epoch).Milliseconds(), test.want[i])
			}
			if open := test.open && i == len(windows)-1; w.Open != open {
				t.Errorf("%s: outage %d open is %v, want %v", name, i, w.Open, open)
			}
			if w.Failed == 0 || w.FirstError == "" {
				t.Errorf("%s: outage %d without a failure: %+v", name, i, w)
			}
		}
	}
}

func TestOutageIgnoresWhatIsNotAsked(t *testing.T) {
	events := traffic(0, 10000, func(ms float64) (bool, float64) { return !between(ms, 1000, 2000), 3 })
	events = append(events, timeline.Event{At: at(5000), Kind: timeline.Leader, Subject: "vault-0", Value: "active"})
	if w := Outage(events, at(3000), at(9000)); w.Length() != 0 {
		t.Errorf("an outage before the span was found: %+v", w)
	}
	if w := Outage(Only(events, "read"), at(0), at(10000)); w.Length() != 0 {
		t.Errorf("failed writes made an outage of reads: %+v", w)
	}
	if w := Outage(nil, at(0), at(10000)); w.Length() != 0 || w.MS() != 0 {
		t.Errorf("no events made an outage: %+v", w)
	}
	// Events that arrive out of order are the same events.
	for i, j := 0, len(events)-1; i < j; i, j = i+1, j-1 {
		events[i], events[j] = events[j], events[i]
	}
	if w := Outage(events, at(0), at(10000)); w.MS() != 1003 || w.Failed != 100 {
		t.Errorf("events in reverse give %v ms with %d failures, want 1003 ms with 100", w.MS(), w.Failed)
	}
}

func TestOutageIsTheLongest(t *testing.T) {
	events := traffic(0, 10000, func(ms float64) (bool, float64) {
		return !between(ms, 1000, 1200) && !between(ms, 4000, 5000) && !between(ms, 8000, 8100), 3
	})
	if w := Outage(events, at(0), at(10000)); !w.Start.Equal(at(4000)) {
		t.Errorf("the outage starts at %v, want the longest, at 4000 ms", w.Start.Sub(epoch))
	}
}

func TestMeasure(t *testing.T) {
	events := traffic(0, 1000, func(ms float64) (bool, float64) { return ms >= 100, ms / 10 })
	a := Measure(events, at(0), at(1000))
	if a.Total != 100 || a.OK != 90 || a.Ratio != 0.9 || a.Errors["connection refused"] != 10 || a.Answers["vault-0"] != 90 {
		t.Errorf("measured %+v", a)
	}
	if a.P50 != 54*time.Millisecond || a.Max != 99*time.Millisecond || a.P99 != 99*time.Millisecond {
		t.Errorf("latencies are %v, %v, %v; want 54, 99 and 99 ms", a.P50, a.P99, a.Max)
	}
	if a := Measure(nil, at(0), at(1000)); a.Total != 0 || a.Ratio != 0 {
		t.Errorf("nothing measured as %+v", a)
	}
}

func TestCheckTraffic(t *testing.T) {
	span := Span{Start: at(0), Fault: at(3000), Recovered: at(5000), End: at(8000)}
	outage := func(ms float64) (bool, float64) { return !between(ms, 3000, 4000), 3 }
	if err := CheckTraffic(traffic(0, 8000, outage), span, 100); err != nil {
		t.Errorf("enough traffic is refused: %v", err)
	}
	// What was due just before the fault, and was under way when it hit.
	underWay := func(ms float64) (bool, float64) { return !between(ms, 2600, 4000), 1000 }
	if err := CheckTraffic(traffic(0, 8000, underWay), span, 100); err != nil {
		t.Errorf("operations that the fault interrupted are held against the time before it: %v", err)
	}
	for name, test := range map[string]struct {
		events []timeline.Event
		span   Span
		rate   float64
		want   string
	}{
		"no events":            {nil, span, 100, "before the fault"},
		"none before":          {traffic(3000, 8000, outage), span, 100, "0 operations in the 3s before the fault"},
		"none during":          {append(traffic(0, 3000, outage), traffic(5000, 8000, outage)...), span, 100, "during the fault"},
		"stopped at the fault": {traffic(0, 5000, outage), span, 100, "after the fault"},
		"half the rate":        {traffic(0, 8000, outage), span, 200, "want at least 540"},
		"sick before": {traffic(0, 8000, func(ms float64) (bool, float64) { return int(ms)%100 != 0, 3 }), span, 100,
			"only 90.0 %"},
		"an empty part": {traffic(0, 8000, outage), Span{at(0), at(3000), at(3000), at(8000)}, 100, "during the fault is empty"},
		"no rate":       {traffic(0, 8000, outage), span, 0, "is none"},
		"a short part":  {traffic(0, 8000, outage), Span{at(0), at(100), at(5000), at(8000)}, 100, "want at least 20"},
	} {
		err := CheckTraffic(test.events, test.span, test.rate)
		if !errors.Is(err, ErrTraffic) || !strings.Contains(err.Error(), test.want) {
			t.Errorf("%s: CheckTraffic says %v, want %q", name, err, test.want)
		}
	}
}

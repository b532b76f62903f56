package probe

import (
	"math"
	"testing"

	"github.com/vaultproof/vaultproof/pkg/history"
)

// took is an operation due at a time of the epoch that took so long.
func took(due, ms float64, change func(*Operation)) Operation {
	o := Operation{Due: at(due), Route: RouteService}
	o.Kind, o.Key, o.Outcome = history.Read, "k", history.OK
	o.Call, o.Return = at(due+ms-1).UnixNano(), at(due+ms).UnixNano() // it was sent late
	if change != nil {
		change(&o)
	}
	return o
}

func TestLatencyCountsFromTheDueTime(t *testing.T) {
	var ops []Operation
	for i := range 1000 {
		ops = append(ops, took(float64(i), float64(i+1), nil)) // 1 ms to 1 s
	}
	q := Latency(ops, at(0), at(1000))[Series{history.Read, RouteService}]
	if q.Count != 1000 || q.Failed != 0 {
		t.Errorf("%d and %d operations, want 1000 that succeeded", q.Count, q.Failed)
	}
	for name, value := range map[string][2]float64{
		"p50": {q.P50, 500}, "p90": {q.P90, 900}, "p99": {q.P99, 990}, "p99.9": {q.P999, 999}, "max": {q.Max, 1000},
	} {
		if math.Abs(value[0]-value[1]) > 1 { // three digits
			t.Errorf("%s is %.2f ms, want %.0f", name, value[0], value[1])
		}
	}
}

func TestLatencyKeepsSeriesApart(t *testing.T) {
	ops := []Operation{
		took(0, 5, nil),
		took(1, 7, func(o *Operation) { o.Route = "vault-1" }),
		took(2, 9, func(o *Operation) { o.Kind = history.Encrypt }),
		took(3, 2000, func(o *Operation) { o.Outcome = history.Fail }),
		took(4, 90_000, func(o *Operation) { o.Route = "ingress" }),
		took(5, 1, func(o *Operation) { o.Aux = true }),
		took(100, 1, nil), // too late
	}
	got := Latency(ops, at(0), at(100))
	if len(got) != 4 {
		t.Errorf("%d series, want 4: %v", len(got), got)
	}
	for series, want := range map[Series]Quantiles{
		{history.Read, RouteService}:    {Count: 1, Failed: 1, Max: 5},
		{history.Read, "vault-1"}:       {Count: 1, Max: 7},
		{history.Encrypt, RouteService}: {Count: 1, Max: 9},
		{history.Read, "ingress"}:       {Count: 1, Max: 60_000}, // no more can be told
	} {
		q := got[series]
		if q.Count != want.Count || q.Failed != want.Failed || math.Abs(q.Max-want.Max) > want.Max/500 {
			t.Errorf("%s: %+v, want %+v", series, q, want)
		}
	}
}

func TestLatenciesAroundAFault(t *testing.T) {
	span := Span{Start: at(0), Fault: at(10), Recovered: at(20), End: at(30)}
	got := Latencies([]Operation{
		took(1, 1, nil), took(11, 100, nil), took(21, 2, nil),
		took(12, 1, func(o *Operation) { o.Route, o.Outcome = "ingress", history.Unknown }),
	}, span)
	if len(got) != 2 || got[0].Series.Route != "ingress" || got[1].Series.Route != RouteService {
		t.Fatalf("series: %+v", got)
	}
	if got[0].Before != (Quantiles{}) || got[0].During != (Quantiles{Failed: 1}) || got[0].After.Count != 0 {
		t.Errorf("through the ingress: %+v", got[0])
	}
	service := got[1]
	if service.Before.Max > 2 || service.During.P50 < 99 || service.After.Count != 1 {
		t.Errorf("through the Service: %+v", service)
	}
}

package probe

import (
	"cmp"
	"fmt"
	"slices"
	"time"

	"github.com/HdrHistogram/hdrhistogram-go"

	"github.com/vaultproof/vaultproof/pkg/history"
)

// What a histogram tells apart: from a microsecond up to more than any client waits,
// by three digits.
const (
	shortest = int64(1)
	longest  = int64(time.Minute / time.Microsecond)
	digits   = 3
)

// Series is what is measured by itself.
type Series struct {
	Kind  history.Kind
	Route string
}

// String is the kind and the way, such as "write through service".
func (s Series) String() string { return fmt.Sprintf("%s through %s", s.Kind, s.Route) }

// Quantiles are the latencies of the operations that succeeded, in milliseconds,
// each from when it was due; all 0 when none did.
type Quantiles struct {
	// Count is how many succeeded, Failed how many did not.
	Count, Failed int64
	// P50 is the latency that half of them did not exceed, and so on.
	P50, P90, P99, P999, Max float64
}

// Latency measures every series of operations that were due at or after from and
// before to. Operations outside the schedule are left out: nobody waited for them.
func Latency(ops []Operation, from, to time.Time) map[Series]Quantiles {
	type tally struct {
		took   *hdrhistogram.Histogram
		failed int64
	}
	tallies := map[Series]*tally{}
	for _, o := range ops {
		if o.Aux || o.Due.Before(from) || !o.Due.Before(to) {
			continue
		}
		series := Series{o.Kind, o.Route}
		t := tallies[series]
		if t == nil {
			t = &tally{took: hdrhistogram.New(shortest, longest, digits)}
			tallies[series] = t
		}
		if o.Outcome != history.OK {
			t.failed++
			continue
		}
		// What is out of range counts as the longest that can be told.
		_ = t.took.RecordValue(min(max(o.Latency().Microseconds(), shortest), longest))
	}
	measured := map[Series]Quantiles{}
	for series, t := range tallies {
		measured[series] = quantiles(t.took, t.failed)
	}
	return measured
}

func quantiles(took *hdrhistogram.Histogram, failed int64) Quantiles {
	q := Quantiles{Count: took.TotalCount(), Failed: failed}
	if q.Count == 0 {
		return q
	}
	ms := func(microseconds int64) float64 { return float64(microseconds) / 1000 }
	at := took.ValueAtPercentiles([]float64{50, 90, 99, 99.9})
	q.P50, q.P90, q.P99, q.P999, q.Max = ms(at[50]), ms(at[90]), ms(at[99]), ms(at[99.9]), ms(took.Max())
	return q
}

// Around is how the latencies of a series changed with a fault.
type Around struct {
	Series                Series
	Before, During, After Quantiles
}

// Latencies measures every series before, during and after a fault, in the order of
// their ways and kinds.
func Latencies(ops []Operation, span Span) []Around {
	before := Latency(ops, span.Start, span.Fault)
	during := Latency(ops, span.Fault, span.Recovered)
	after := Latency(ops, span.Recovered, span.End)
	seen := map[Series]bool{}
	var all []Around
	for _, part := range []map[Series]Quantiles{before, during, after} {
		for series := range part {
			if !seen[series] {
				seen[series] = true
				all = append(all, Around{series, before[series], during[series], after[series]})
			}
		}
	}
	slices.SortFunc(all, func(a, b Around) int {
		return cmp.Or(cmp.Compare(a.Series.Route, b.Series.Route), cmp.Compare(a.Series.Kind, b.Series.Kind))
	})
	return all
}

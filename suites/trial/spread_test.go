package trial

import (
	"maps"
	"testing"
	"time"

	"github.com/vaultproof/vaultproof/pkg/report"
)

func TestSpread(t *testing.T) {
	var results []Result
	for i := 1; i <= 20; i++ {
		r := outage(time.Duration(i) * 100 * time.Millisecond)
		r.Phases = report.Phases{Elected: report.MS(float64(i))}
		if i > 18 { // two never came back
			r.Phases.Unsealed = report.MS(7)
		}
		results = append(results, r)
	}
	want := map[string]float64{
		"outage_median_ms": 1000, "outage_p95_ms": 1900, "elected_median_ms": 10, "elected_p95_ms": 19,
		"unsealed_median_ms": 7, "unsealed_p95_ms": 7,
	}
	if got := spread(results); !maps.Equal(got, want) {
		t.Errorf("spread is %v, want %v", got, want)
	}
	if got := spread(results[:1]); len(got) != 0 {
		t.Errorf("one trial has a spread: %v", got)
	}
}

package probe

import (
	"log/slog"
	"testing"
	"time"

	"github.com/vaultproof/vaultproof/pkg/timeline"
)

// TestClocksAreKeptInStep: a clock that drifts is followed, and a comparison that is too
// rough is not believed.
func TestClocksAreKeptInStep(t *testing.T) {
	start := clock{base: instant(0), remote: 1_000_000_000, uncertainty: time.Millisecond}
	p := newPump(nil, start, timeline.New(nil), slog.Default())
	at := func(want float64, why string) {
		t.Helper()
		if got := p.at(61_000_000_000); !got.Equal(instant(want)) {
			t.Errorf("%s: a minute later on the prober's clock is %s, want %s", why, got, instant(want))
		}
	}
	at(60_000, "at the start")
	p.adopt(clock{base: instant(60_030), remote: 61_000_000_000, uncertainty: 4 * time.Millisecond})
	at(60_030, "30 ms of drift")
	p.adopt(clock{base: instant(60_900), remote: 61_000_000_000, uncertainty: 800 * time.Millisecond})
	at(60_030, "a comparison over a slow line")
}

package ops

import (
	"errors"
	"strings"
	"testing"
	"time"
)

// looksAt simulates looks over a good second at a clock that is ahead of ours, each
// of which takes trip there and back.
func looksAt(base time.Time, ahead, trip time.Duration) []look {
	var looks []look
	for at := time.Duration(0); at < clockLook; at += clockPause + trip {
		asked := base.Add(at)
		looks = append(looks, look{asked: asked, answered: asked.Add(trip), second: asked.Add(trip / 2).Add(ahead).Unix()})
	}
	return looks
}

func TestClocks(t *testing.T) {
	base := time.Now() // with a monotonic reading, as in the check
	const ms = time.Millisecond
	at := func(pod string, ahead, trip time.Duration) clock { return bound(pod, base, looksAt(base, ahead, trip)) }
	stepped := looksAt(base, 0, ms)
	for i := range stepped[len(stepped)/2:] {
		stepped[len(stepped)/2+i].second += 3
	}
	for name, c := range map[string]struct {
		clocks []clock
		unsure bool
		want   string
	}{
		"the same":             {[]clock{at("a", 0, ms), at("b", 0, 3*ms), at("c", 0, 9*ms)}, false, ""},
		"nearly a second":      {[]clock{at("a", -400*ms, ms), at("b", 500*ms, ms)}, false, ""},
		"over a second":        {[]clock{at("a", 0, ms), at("b", 1100*ms, ms), at("c", 0, ms)}, false, "the clocks of pods a and b differ by 1."},
		"behind":               {[]clock{at("a", 0, ms), at("b", -5*time.Second, ms)}, false, "the clocks of pods a and b differ by"},
		"an hour":              {[]clock{at("a", time.Hour, 400*ms), at("b", 0, 400*ms)}, false, "differ by 59m59"},
		"about a second":       {[]clock{at("a", 0, 20*ms), at("b", time.Second, 20*ms)}, true, "the clocks cannot be compared closely enough: pods a and b differ by"},
		"answers that crawl":   {[]clock{at("a", 0, 1500*ms), at("b", 0, 1500*ms)}, true, "the answers took too long"},
		"a clock that was set": {[]clock{at("a", 0, ms), bound("b", base, stepped)}, false, "the clock of pod b was set by at least"},
		"one pod":              {[]clock{at("a", 0, ms)}, true, "there are 1 Vault pods"},
		"never asked":          {[]clock{at("a", 0, ms), bound("b", base, nil)}, true, "pod b was not asked"},
	} {
		err := together(c.clocks)
		if (c.want == "") != (err == nil) || err != nil && !strings.Contains(err.Error(), c.want) || errors.Is(err, errBounds) != c.unsure {
			t.Errorf("%s: error %v, want %q, unsure %t", name, err, c.want, c.unsure)
		}
	}
}

// TestBoundsAreTrue: whatever the clocks and the trips, the truth is within.
func TestBoundsAreTrue(t *testing.T) {
	base := time.Now()
	for ahead := -3 * time.Second; ahead < 3*time.Second; ahead += 37 * time.Millisecond {
		for _, trip := range []time.Duration{time.Millisecond, 30 * time.Millisecond, 500 * time.Millisecond} {
			c := bound("a", base, looksAt(base, ahead, trip))
			if ahead < c.from || ahead > c.to || trip < 100*time.Millisecond && c.to-c.from > 2*(trip+clockPause) {
				t.Fatalf("ahead by %s with trips of %s: bounds %s to %s", ahead, trip, c.from, c.to)
			}
		}
	}
}

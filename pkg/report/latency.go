package report

import "math"

// scale writes a latency in one byte: 0 is none, 1 is Least ms, and each step
// is Ratio times the one before.
type scale struct {
	Least float64 `json:"least"`
	Ratio float64 `json:"ratio"`
}

// latencyScale reaches from a tenth of a millisecond beyond a minute, true
// within 3 %, which is less than a pixel.
var latencyScale = scale{Least: 0.1, Ratio: 1.055}

func (s scale) of(ms float64) byte {
	if ms = finite(ms); ms <= s.Least {
		return 1
	}
	return byte(min(255, 1+math.Round(math.Log(ms/s.Least)/math.Log(s.Ratio))))
}

func (s scale) ms(value byte) float64 {
	if value == 0 {
		return 0
	}
	return s.Least * math.Pow(s.Ratio, float64(value-1))
}

// latencies are quantiles of the answers by slices of time, a byte each on the
// scale; 0 where nothing was answered.
type latencies struct {
	Width float64 `json:"width"` // ms
	P50   []byte  `json:"p50"`
	P99   []byte  `json:"p99"`
	Max   []byte  `json:"max"`
}

const (
	// levelFactor is how much wider the slices of the next level are: a column
	// of the picture is one slice of some level, and so up to 4 pixels wide.
	levelFactor = 4
	// levelSlices ends the levels: at so few slices each has a pixel even on a
	// telephone.
	levelSlices = 250
)

// step collects one level. Answers come in order of time.
type step struct {
	latencies
	slice int
	seen  [256]int // answers of the slice by value
	all   int
}

// ladder prepares the levels over n slices of the finest width. Quantiles of wide
// slices cannot be made of those of narrow ones, so that each level has its own.
func ladder(width float64, n int) []*step {
	var steps []*step
	for {
		steps = append(steps, &step{latencies: latencies{Width: width, P50: make([]byte, n), P99: make([]byte, n), Max: make([]byte, n)}})
		if n <= levelSlices {
			return steps
		}
		width, n = width*levelFactor, (n+levelFactor-1)/levelFactor
	}
}

func (s *step) add(at float64, value byte) {
	if i := int(at / s.Width); i != s.slice {
		s.end()
		s.slice = i
	}
	s.seen[value]++
	s.all++
}

// end writes down the slice that is over.
func (s *step) end() {
	if s.all == 0 {
		return
	}
	s.P50[s.slice], s.P99[s.slice], s.Max[s.slice] = s.quantile(.5), s.quantile(.99), s.quantile(1)
	s.seen, s.all = [256]int{}, 0
}

// quantile is that of the slice, by the nearest rank.
func (s *step) quantile(q float64) byte {
	rank, below := int(math.Ceil(q*float64(s.all))), 0
	for value, times := range s.seen {
		if below += times; below >= rank {
			return byte(value)
		}
	}
	return 255
}

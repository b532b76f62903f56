package report

import (
	"cmp"
	"maps"
	"regexp"
	"slices"
	"time"

	"github.com/vaultproof/vaultproof/pkg/timeline"
)

// buckets are the operations, summed up over equal slices of time so that
// the page stays small however long the run was.
type buckets struct {
	Width float64   `json:"width"` // ms
	First int       `json:"first"` // the bucket of OK[0], counted from T0
	OK    []int     `json:"ok"`
	Err   []int     `json:"err"`
	P50   []float64 `json:"p50"` // latency of the good ones in ms; 0 when none
	Max   []float64 `json:"max"`
	// Why maps a bucket's offset from First to the commonest error in it.
	Why map[int]int `json:"why"`
	// Errors are the texts that Why points to.
	Errors []string `json:"errors"`
	Total  int      `json:"total"`
	Failed int      `json:"failed"`
}

// widths are the slices to choose from, in ms; 100 is the finest, for a
// wider one blurs an outage.
var widths = []float64{100, 200, 500, 1000, 2000, 5000, 10_000, 30_000, 60_000}

const (
	// maxBuckets keeps a page under a megabyte; at 100 ms it is half an hour.
	maxBuckets = 18_000
	// maxErrors bounds the number of distinct error texts, maxErrorText the
	// length of each in characters.
	maxErrors    = 40
	maxErrorText = 160
)

// bucketsOf sums up the operations; nil when there were none.
func bucketsOf(events []timeline.Event, at func(time.Time) float64, span float64) *buckets {
	width := widths[len(widths)-1]
	for _, w := range widths {
		if span/w <= maxBuckets {
			width = w
			break
		}
	}
	type cell struct {
		good   []float64 // latencies in ms
		failed map[string]int
	}
	cells := map[int]*cell{}
	for _, e := range events {
		if e.Kind != timeline.Operation {
			continue
		}
		i := int(at(e.At) / width)
		s := cells[i]
		if s == nil {
			s = &cell{failed: map[string]int{}}
			cells[i] = s
		}
		if e.OK {
			s.good = append(s.good, finite(e.LatencyMS))
		} else {
			s.failed[e.Subject+": "+errorText(e.Detail)]++
		}
	}
	if len(cells) == 0 {
		return nil
	}
	order := slices.Sorted(maps.Keys(cells))
	first, last := order[0], order[len(order)-1]
	n := last - first + 1
	b := &buckets{
		Width: width, First: first, Why: map[int]int{}, Errors: []string{},
		OK: make([]int, n), Err: make([]int, n), P50: make([]float64, n), Max: make([]float64, n),
	}
	known := map[string]int{}
	for _, i := range order {
		s, o := cells[i], i-first
		b.OK[o] = len(s.good)
		b.Total += len(s.good)
		if len(s.good) > 0 {
			slices.Sort(s.good)
			b.P50[o] = round(s.good[len(s.good)/2])
			b.Max[o] = round(s.good[len(s.good)-1])
		}
		for _, times := range s.failed {
			b.Err[o] += times
		}
		b.Total += b.Err[o]
		b.Failed += b.Err[o]
		if len(s.failed) > 0 {
			b.Why[o] = b.index(known, commonest(s.failed))
		}
	}
	return b
}

// index returns the place of an error text in Errors, adding it when it is
// new; the last place stands for all that do not fit.
func (b *buckets) index(known map[string]int, text string) int {
	if i, ok := known[text]; ok {
		return i
	}
	if len(b.Errors) >= maxErrors {
		text = "another error"
		if i, ok := known[text]; ok {
			return i
		}
	}
	known[text] = len(b.Errors)
	b.Errors = append(b.Errors, text)
	return known[text]
}

// commonest returns the text counted most often, the first by name on a tie.
func commonest(counts map[string]int) string {
	texts := slices.Collect(maps.Keys(counts))
	return slices.MinFunc(texts, func(a, b string) int {
		return cmp.Or(cmp.Compare(counts[b], counts[a]), cmp.Compare(a, b))
	})
}

// clientPort is the part of a dialling error that differs each time.
var clientPort = regexp.MustCompile(`:\d+->`)

// errorText makes errors of the same cause look the same, and keeps them short.
func errorText(detail string) string {
	if detail == "" {
		return "failed without an error text"
	}
	text := []rune(clientPort.ReplaceAllString(detail, "->"))
	if len(text) > maxErrorText {
		return string(text[:maxErrorText-1]) + "…"
	}
	return string(text)
}

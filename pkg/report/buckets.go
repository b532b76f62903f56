package report

import (
	"cmp"
	"encoding/binary"
	"maps"
	"math"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/vaultproof/vaultproof/pkg/timeline"
)

// buckets are the operations, summed up over equal slices of time, so that the
// page stays small however long the run was. The first slice begins at T0.
type buckets struct {
	Width float64 `json:"width"` // ms
	// OK counts the operations that were answered: two bytes a slice, the lower
	// one first.
	OK []byte `json:"ok"`
	// Bad lists the slices in which operations failed, three numbers each: the
	// slice, counted from the last one in the list; how many failed; and the place
	// of their commonest error in Errors.
	Bad    []int    `json:"bad"`
	Errors []string `json:"errors"`
	// Scale turns the bytes of Levels into milliseconds.
	Scale scale `json:"scale"`
	// Levels are the latencies of what was answered, over slices of Width and
	// over ever wider ones.
	Levels []latencies `json:"levels"`
	Total  int         `json:"total"`
	Failed int         `json:"failed"`
}

// widths are the slices to choose from, in ms; 100 is the finest, for a
// wider one blurs an outage.
var widths = []float64{100, 200, 500, 1000, 2000, 5000, 10_000, 30_000, 60_000}

const (
	// maxSlices keeps a page under a megabyte; at 100 ms it is a little over two hours.
	maxSlices = 75_000
	// maxErrors bounds the number of distinct error texts, maxErrorText the
	// length of each in characters.
	maxErrors    = 40
	maxErrorText = 160
)

// bucketsOf sums up the operations of events that are in order of time; nil if there
// are none.
func bucketsOf(events []timeline.Event, at func(time.Time) float64, span float64) *buckets {
	width := widths[len(widths)-1]
	for _, w := range widths {
		if span/w <= maxSlices {
			width = w
			break
		}
	}
	n := int(span/width) + 1
	c := &collector{
		b:     &buckets{Width: width, OK: make([]byte, 2*n), Bad: []int{}, Errors: []string{}, Scale: latencyScale},
		steps: ladder(width, n), known: map[string]int{}, why: map[string]int{},
	}
	for _, e := range events {
		if e.Kind == timeline.Operation {
			c.add(e, at(e.At))
		}
	}
	return c.end()
}

// collector sums up one slice after the other.
type collector struct {
	b     *buckets
	steps []*step
	known map[string]int // places of the errors

	slice   int
	lastBad int // the slice before in which operations failed
	good    int
	why     map[string]int // what failed in the slice, by the error
}

// add takes the next operation, which was due at so many ms after T0.
func (c *collector) add(e timeline.Event, at float64) {
	if i := int(at / c.b.Width); i != c.slice {
		c.close()
		c.slice = i
	}
	c.b.Total++
	if !e.OK {
		c.b.Failed++
		c.why[e.Subject+": "+errorText(e.Detail)]++
		return
	}
	c.good++
	value := latencyScale.of(e.LatencyMS)
	for _, s := range c.steps {
		s.add(at, value)
	}
}

// close writes down the slice that is over.
func (c *collector) close() {
	binary.LittleEndian.PutUint16(c.b.OK[2*c.slice:], uint16(min(c.good, math.MaxUint16)))
	c.good = 0
	if len(c.why) == 0 {
		return
	}
	failed := 0
	for _, times := range c.why {
		failed += times
	}
	c.b.Bad = append(c.b.Bad, c.slice-c.lastBad, failed, c.index(commonest(c.why)))
	c.lastBad = c.slice
	clear(c.why)
}

// end returns the result; nil if there was no operation.
func (c *collector) end() *buckets {
	if c.b.Total == 0 {
		return nil
	}
	c.close()
	for _, s := range c.steps {
		s.end()
		c.b.Levels = append(c.b.Levels, s.latencies)
	}
	return c.b
}

// index returns the place of an error text in Errors, adding it when it is
// new; the last place stands for all that do not fit.
func (c *collector) index(text string) int {
	if i, ok := c.known[text]; ok {
		return i
	}
	if len(c.b.Errors) >= maxErrors {
		text = "another error"
		if i, ok := c.known[text]; ok {
			return i
		}
	}
	c.known[text] = len(c.b.Errors)
	c.b.Errors = append(c.b.Errors, text)
	return c.known[text]
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
	if strings.Contains(detail, "->") { // the expression is slow, and there may be many errors
		detail = clientPort.ReplaceAllString(detail, "->")
	}
	if len(detail) <= maxErrorText {
		return detail
	}
	text := []rune(detail)
	if len(text) > maxErrorText {
		return string(text[:maxErrorText-1]) + "…"
	}
	return detail
}

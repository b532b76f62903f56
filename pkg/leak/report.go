package leak

import (
	"errors"
	"fmt"
	"strings"
	"time"
)

// Report is what a search of many places came to.
type Report struct {
	Started, Ended time.Time
	// Needles is how many secrets were searched for.
	Needles int
	// Places are all that were to be searched, in the order of the search.
	Places []Place
	// Findings are of all places.
	Findings []Finding
}

// Place is one input, or one kind of input that could not be had.
type Place struct {
	Name string
	// Bytes is how much was searched.
	Bytes int64
	// Unseen says why the place, or a part of it, was not searched.
	Unseen string
	// Control says that a secret planted there for the purpose was found.
	Control bool
}

// Err is nil if nothing was found. A place that was not searched is no error: it
// is for the caller to say which have to be.
func (r Report) Err() error {
	errs := make([]error, len(r.Findings))
	for i, f := range r.Findings {
		errs[i] = errors.New(f.String())
	}
	return errors.Join(errs...)
}

// Bytes is how much was searched in all.
func (r Report) Bytes() int64 {
	var sum int64
	for _, p := range r.Places {
		sum += p.Bytes
	}
	return sum
}

// String is the report for a person: findings, what was not searched, and a
// summary.
func (r Report) String() string {
	var text strings.Builder
	for _, f := range r.Findings {
		fmt.Fprintf(&text, "FOUND %s\n", f)
	}
	searched := 0
	for _, p := range r.Places {
		if p.Unseen != "" {
			fmt.Fprintf(&text, "not searched: %s: %s\n", p.Name, p.Unseen)
		} else {
			searched++
		}
	}
	fmt.Fprintf(&text, "%d findings of %d secrets in %d places, %.1f MB, %s\n",
		len(r.Findings), r.Needles, searched, float64(r.Bytes())/1e6, r.Ended.Sub(r.Started).Round(time.Millisecond))
	return text.String()
}

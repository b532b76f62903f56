// Package leak finds secrets in bytes.
//
// A secret seldom leaks as it is: it leaks as the base64 of a Kubernetes
// Secret, as hex in a Vault error, as a URL-escaped query parameter, cut off at
// the end of a line, or in a compressed log. A Scanner knows every such form of
// the needles it was given, looks into what is encoded or compressed, and
// streams over input of any size in constant memory. It proves itself with
// SelfTest before its silence counts.
package leak

import (
	"bytes"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"slices"
	"sync"
)

// MinNeedle is the shortest secret, and the shortest part of one, in bytes, that
// is searched for. A shorter one would be found by chance.
const MinNeedle = 12

// Needle is one secret to look for. Name is what findings and messages say
// instead of the value. The value has to be random but for the beginning of a
// token: any MinNeedle bytes of it count as a leak.
type Needle struct {
	Name  string
	Value []byte
}

// Finding is one place where a needle was seen, or a part of the input that
// could not be looked into (then Needle is empty and Encoding says why).
type Finding struct {
	// Place is the input, where a collection of them is searched.
	Place string
	// Needle is the name of the secret.
	Needle string
	// Encoding is how it is written there.
	Encoding string
	// Truncated means that only a part of the secret is there.
	Truncated bool
	// Within names what had to be opened, from the inside out: "gzip in base64".
	Within string
	// Offset counts bytes from the start of the input, to the secret or to the
	// outermost of what had to be opened.
	Offset int64
}

// String names the finding without showing the secret.
func (f Finding) String() string {
	var words bytes.Buffer
	switch {
	case f.Needle == "":
		words.WriteString(f.Encoding)
	case f.Truncated:
		fmt.Fprintf(&words, "%s (%s, truncated)", f.Needle, f.Encoding)
	default:
		fmt.Fprintf(&words, "%s (%s)", f.Needle, f.Encoding)
	}
	if f.Within != "" {
		words.WriteString(" in " + f.Within)
	}
	fmt.Fprintf(&words, " at byte %d", f.Offset)
	if f.Place != "" {
		words.WriteString(" of " + f.Place)
	}
	return words.String()
}

// Limits bound what is opened. What they keep out is a finding of its own, so
// that it is never taken for clean.
type Limits struct {
	// Expanded is how many bytes all compressed parts of one input may expand to.
	Expanded int64
	// Depth is how deep archives and encodings may nest.
	Depth int
}

// DefaultLimits let whole disks of a cluster through and end a bomb in seconds.
var DefaultLimits = Limits{Expanded: 4 << 30, Depth: 16}

// Scanner looks for a fixed set of needles in all their encodings. It is safe
// for use by several goroutines.
type Scanner struct {
	needles []Needle
	control int // the place in needles of the one for the positive control
	forms   [][]form
	index   *index
	limits  Limits
	kinds   []kind

	makeControl func() control
}

// New compiles a scanner. Needles without a name or shorter than MinNeedle are
// refused: a scanner that cannot find what it was given must not stay silent.
func New(needles ...Needle) (*Scanner, error) { return NewLimited(DefaultLimits, needles...) }

// NewLimited is New with other limits than the default.
func NewLimited(limits Limits, needles ...Needle) (*Scanner, error) {
	if limits.Depth < 1 || limits.Expanded < 1 {
		return nil, fmt.Errorf("a scanner that may open %d levels and %d bytes opens nothing: both must be positive", limits.Depth, limits.Expanded)
	}
	for _, n := range needles {
		if n.Name == "" {
			return nil, errors.New("a needle has no name")
		}
		if len(n.Value) < MinNeedle {
			return nil, fmt.Errorf("needle %s has %d bytes, at least %d are needed to search for it", n.Name, len(n.Value), MinNeedle)
		}
	}
	value := make([]byte, 33) // as long as a share
	if _, err := rand.Read(value); err != nil {
		return nil, fmt.Errorf("making the needle of the positive control: %w", err)
	}
	s := &Scanner{
		needles: append(slices.Clone(needles), Needle{Name: "positive control", Value: value}),
		control: len(needles), limits: limits, kinds: allKinds,
	}
	for _, n := range s.needles {
		s.forms = append(s.forms, forms(n.Value))
	}
	s.index = newIndex(s.forms)
	s.makeControl = sync.OnceValue(func() control { return s.hide(s.control) })
	return s, nil
}

// Needles tells how many secrets the scanner looks for.
func (s *Scanner) Needles() int { return s.control }

// Scan reads r to its end and returns every finding in order of its place: the
// first one of each needle, encoding and kind of container.
func (s *Scanner) Scan(r io.Reader) ([]Finding, error) {
	found, err := s.scan(r, nil)
	found = slices.DeleteFunc(found, func(f Finding) bool { return f.Needle == s.needles[s.control].Name })
	return found, err
}

// ScanBytes is Scan over bytes in memory.
func (s *Scanner) ScanBytes(b []byte) []Finding {
	found, _ := s.Scan(bytes.NewReader(b)) // a bytes.Reader does not fail
	return found
}

// Redact returns b with every encoding of every needle, and every part of one
// that would count as a finding, replaced by the needle's name in brackets. What
// is in a compressed part of b stays: ScanBytes tells. b itself is left as it is.
func (s *Scanner) Redact(b []byte) []byte {
	var clean []byte
	done := 0
	for _, m := range s.index.all(b) {
		if m.end <= done {
			continue
		}
		clean = append(clean, b[done:max(done, m.start)]...)
		if m.start >= done {
			clean = append(clean, "[redacted "+s.needles[m.needle].Name+"]"...)
		}
		done = m.end
	}
	if done == 0 {
		return b
	}
	return append(clean, b[done:]...)
}

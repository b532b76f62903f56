// Package leak finds secrets in bytes.
//
// A secret seldom leaks as it is: it leaks as the base64 of a Kubernetes
// Secret, as hex in a Vault error, as a URL-escaped query parameter. A Scanner
// knows every such form of the needles it was given and streams over input of
// any size. It proves itself with SelfTest before its silence counts.
package leak

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"sort"
)

// MinNeedle is the shortest secret, in bytes, that is searched for. A shorter
// one would be found by chance.
const MinNeedle = 12

// chunkSize is how much is read at once, in bytes.
const chunkSize = 256 << 10

// Needle is one secret to look for. Name is what findings and messages say
// instead of the value.
type Needle struct {
	Name  string
	Value []byte
}

// Finding is one place where a needle was seen. Offset counts bytes from the
// start of the scanned input.
type Finding struct {
	Needle   string
	Encoding string
	Offset   int64
}

// String names the finding without showing the secret.
func (f Finding) String() string {
	return fmt.Sprintf("%s (%s) at byte %d", f.Needle, f.Encoding, f.Offset)
}

type pattern struct {
	needle   string
	encoding string
	bytes    []byte
}

// Scanner looks for a fixed set of needles in all their encodings. It is safe
// for use by several goroutines.
type Scanner struct {
	patterns []pattern
	longest  int
	needles  []Needle
}

// New compiles a scanner. Needles without a name or shorter than MinNeedle are
// refused: a scanner that cannot find what it was given must not stay silent.
func New(needles ...Needle) (*Scanner, error) {
	s := &Scanner{needles: needles}
	for _, n := range needles {
		if n.Name == "" {
			return nil, errors.New("a needle has no name")
		}
		if len(n.Value) < MinNeedle {
			return nil, fmt.Errorf("needle %s has %d bytes, at least %d are needed to search for it", n.Name, len(n.Value), MinNeedle)
		}
		for _, e := range encodings(n.Value) {
			s.patterns = append(s.patterns, pattern{needle: n.Name, encoding: e.name, bytes: e.bytes})
			s.longest = max(s.longest, len(e.bytes))
		}
	}
	// Longest first, so that redaction takes the whole of an encoding before
	// a shorter one nested in it.
	sort.SliceStable(s.patterns, func(i, j int) bool {
		return len(s.patterns[i].bytes) > len(s.patterns[j].bytes)
	})
	return s, nil
}

// Needles tells how many secrets the scanner looks for.
func (s *Scanner) Needles() int { return len(s.needles) }

// Scan reads r to its end and returns every finding in order of its place:
// the first one of each needle and encoding.
func (s *Scanner) Scan(r io.Reader) ([]Finding, error) {
	if s.longest == 0 {
		_, err := io.Copy(io.Discard, r)
		return nil, err
	}
	var (
		found  []Finding
		seen   = map[[2]string]bool{}
		buffer = make([]byte, 0, chunkSize+s.longest)
		base   int64
	)
	for {
		n, err := io.ReadAtLeast(r, buffer[len(buffer):cap(buffer)], 1)
		buffer = buffer[:len(buffer)+n]
		for _, p := range s.patterns {
			key := [2]string{p.needle, p.encoding}
			if seen[key] {
				continue
			}
			if i := bytes.Index(buffer, p.bytes); i >= 0 {
				seen[key] = true
				found = append(found, Finding{Needle: p.needle, Encoding: p.encoding, Offset: base + int64(i)})
			}
		}
		if err != nil {
			sort.SliceStable(found, func(i, j int) bool { return found[i].Offset < found[j].Offset })
			if errors.Is(err, io.EOF) {
				return found, nil
			}
			return found, fmt.Errorf("reading what is scanned for secrets: %w", err)
		}
		// Keep a tail, for a secret that straddles two reads.
		if keep := s.longest - 1; len(buffer) > keep {
			base += int64(len(buffer) - keep)
			buffer = append(buffer[:0], buffer[len(buffer)-keep:]...)
		}
	}
}

// ScanBytes is Scan over bytes in memory.
func (s *Scanner) ScanBytes(b []byte) []Finding {
	found, _ := s.Scan(bytes.NewReader(b)) // a bytes.Reader does not fail
	return found
}

// Redact returns b with every encoding of every needle replaced by the
// needle's name in brackets. b itself is left as it is.
func (s *Scanner) Redact(b []byte) []byte {
	for _, p := range s.patterns {
		if bytes.Contains(b, p.bytes) {
			b = bytes.ReplaceAll(b, p.bytes, []byte("[redacted "+p.needle+"]"))
		}
	}
	return b
}

// SelfTest is the positive control: it plants every encoding of every needle
// between other text and fails if the scanner misses one of them.
func (s *Scanner) SelfTest() error {
	if len(s.patterns) == 0 {
		return errors.New("the scanner has no needle to look for")
	}
	for _, n := range s.needles {
		for _, e := range encodings(n.Value) {
			planted := bytes.Join([][]byte{[]byte(`time=12:00 msg="`), e.bytes, []byte(`" level=info`)}, nil)
			if !hasNeedle(s.ScanBytes(planted), n.Name) {
				return fmt.Errorf("the scanner missed %s planted as %s", n.Name, e.name)
			}
		}
	}
	return nil
}

func hasNeedle(found []Finding, name string) bool {
	for _, f := range found {
		if f.Needle == name {
			return true
		}
	}
	return false
}

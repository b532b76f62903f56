package leak

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"slices"
)

// sighting says that a form of a needle was seen whole, and in what.
type sighting struct {
	needle, form int
	within       string
}

// narrow is the width of the lines to which the control wraps a form.
const narrow = 16

// SelfTest is the positive control: the scanner has to find every encoding of
// every needle between other text, parts of them as well, and every encoding of a
// needle of its own in everything that it opens. It fails if one is missed.
func (s *Scanner) SelfTest() error {
	if s.control == 0 {
		return errors.New("the scanner has no needle to look for")
	}
	var planted bytes.Buffer
	var wanted []sighting
	for needle := range s.needles {
		wanted = append(wanted, s.plant(&planted, needle)...)
	}
	if err := s.expect(&planted, wanted); err != nil {
		return err
	}
	for needle := range s.needles {
		for _, f := range s.forms[needle] {
			middle := f.secret + (len(f.text)-f.secret-f.window)/2
			if !s.sees(needle, f.text[middle:middle+f.window]) {
				return fmt.Errorf("the scanner missed a part of %s planted as %s", s.needles[needle].Name, f.name)
			}
		}
	}
	control, err := s.planted()
	if err != nil {
		return err
	}
	return s.expect(bytes.NewReader(control.text), control.wanted)
}

// ScanPlace is Scan with a positive control: on the same way and before the bytes
// of r, everything that SelfTest hides is searched for, and what is missed is an
// error. It returns how many bytes r had.
func (s *Scanner) ScanPlace(place string, r io.Reader) (found []Finding, size int64, err error) {
	control, err := s.planted()
	if err != nil {
		return nil, 0, err
	}
	counted := &counter{Reader: r}
	seen := map[sighting]bool{}
	found, err = s.scan(io.MultiReader(bytes.NewReader(control.text), counted), seen)
	found = slices.DeleteFunc(found, func(f Finding) bool { return f.Needle == s.needles[s.control].Name })
	for i := range found {
		found[i].Place = place
		found[i].Offset -= int64(len(control.text))
	}
	if err != nil {
		return found, counted.size, fmt.Errorf("%s: %w", place, err)
	}
	if err := s.missed(seen, control.wanted); err != nil {
		return found, counted.size, fmt.Errorf("%s: %w", place, err)
	}
	return found, counted.size, nil
}

// counter counts what is read.
type counter struct {
	io.Reader
	size int64
}

// Read implements io.Reader.
func (c *counter) Read(p []byte) (int, error) {
	n, err := c.Reader.Read(p)
	c.size += int64(n)
	return n, err
}

// sees tells whether text alone is enough to find a needle.
func (s *Scanner) sees(needle int, text []byte) bool {
	return slices.ContainsFunc(s.index.all(text), func(m match) bool { return m.needle == needle })
}

// expect fails if a search of r does not come upon all that is wanted.
func (s *Scanner) expect(r io.Reader, wanted []sighting) error {
	seen := map[sighting]bool{}
	if _, err := s.scan(r, seen); err != nil {
		return err
	}
	return s.missed(seen, wanted)
}

func (s *Scanner) missed(seen map[sighting]bool, wanted []sighting) error {
	for _, w := range wanted {
		if !seen[w] {
			within := "plain text"
			if w.within != "" {
				within = w.within
			}
			return fmt.Errorf("the scanner missed %s planted as %s in %s", s.needles[w.needle].Name, s.index.forms[w.form].name, within)
		}
	}
	return nil
}

// plant writes every form of a needle as lines of a log.
func (s *Scanner) plant(w *bytes.Buffer, needle int) []sighting {
	var planted []sighting
	for i, f := range s.index.forms {
		if f.needle == needle {
			fmt.Fprintf(w, "time=12:00 msg=\"%s\" level=info\n", f.text)
			planted = append(planted, sighting{needle: needle, form: i})
		}
	}
	return planted
}

// control is text in which every encoding of a needle is hidden in everything that
// a scanner opens, and what a search has to see of it.
type control struct {
	text   []byte
	wanted []sighting
	err    error
}

// planted returns the control, which is made when it is first asked for.
func (s *Scanner) planted() (control, error) {
	c := s.makeControl()
	return c, c.err
}

// Plant hides a value in all encodings in everything that a scanner opens. Who
// puts that in a place, and searches the place for the value, has to find as much
// there as in the planted bytes.
func Plant(value []byte) ([]byte, error) {
	s, err := New(Needle{Name: "planted", Value: value})
	if err != nil {
		return nil, err
	}
	c := s.hide(0)
	return c.text, c.err
}

// hide makes a control of the given needle.
func (s *Scanner) hide(needle int) control {
	var text, all bytes.Buffer
	var c control
	plain := s.plant(&text, needle)
	for _, p := range packings {
		packed, err := p.pack(text.Bytes())
		if err != nil {
			return control{err: fmt.Errorf("planting the positive control in %s: %w", p.name, err)}
		}
		fmt.Fprintf(&all, "\nplanted in %s: \"", p.name)
		all.Write(packed)
		all.WriteString("\" end of it\n")
		for _, w := range plain {
			w.within = p.within
			c.wanted = append(c.wanted, w)
		}
	}
	for i, f := range s.index.forms {
		if f.needle == needle && !bytes.ContainsFunc(f.text, func(r rune) bool { return r <= ' ' || r > '~' }) {
			fmt.Fprintf(&all, "wrapped, as %s:\n  %s\nend of it\n", f.name, wrap(f.text, narrow, "\n  "))
			c.wanted = append(c.wanted, sighting{needle: needle, form: i, within: "wrapped lines"})
		}
	}
	c.text = all.Bytes()
	return c
}

package leak

import (
	"bytes"
	"errors"
	"fmt"
	"io"
)

// finder looks for the beginning of one kind of container.
type finder struct {
	*kind
	next  int  // in the layer's buffer: before it, from looked on, there is none
	found bool // there is one at next
}

// kind is one kind of container.
type kind struct {
	name string
	// find returns the first beginning in text[from:limit], or limit. It may look
	// at what follows limit.
	find func(text []byte, from, limit int) int
	// open returns a reader of the content. The tap stands at the beginning.
	open func(t tap) (content, error)
}

// content is what is in a container.
type content struct {
	io.Reader
	name  string // what the container turned out to be
	close func()
	// compressed content counts against the limit of expansion.
	compressed bool
}

var allKinds = []kind{
	{"gzip", signature("\x1f\x8b\x08"), openGzip},
	{"zstd", signature("\x28\xb5\x2f\xfd"), openZstd},
	{"zip", signature("PK\x03\x04"), openZip},
	{"wrapped lines", findWrapped, openWrapped},
	{"text", findRun, openRun},
}

func (s *Scanner) appendFinders(list []finder) []finder {
	for i := range s.kinds {
		list = append(list, finder{kind: &s.kinds[i], next: -1})
	}
	return list
}

// signature finds containers that begin with fixed bytes.
func signature(magic string) func([]byte, int, int) int {
	return func(text []byte, from, limit int) int {
		end := min(limit+len(magic)-1, len(text))
		if i := bytes.Index(text[from:end], []byte(magic)); i >= 0 {
			return from + i
		}
		return limit
	}
}

// look opens every container in what was read.
func (l *layer) look() {
	for {
		limit := len(l.buffer)
		if l.err == nil {
			limit -= lookahead
		}
		if l.looked >= limit {
			return
		}
		at, kind := l.first(limit)
		l.looked = at
		if kind == nil {
			return
		}
		l.open(kind)
	}
}

// first finds the first container from looked on. What each finder found is kept,
// so that no byte is looked at twice.
func (l *layer) first(limit int) (int, *kind) {
	at, kind := limit, (*kind)(nil)
	for i := range l.finders {
		f := &l.finders[i]
		if f.next < l.looked {
			f.next, f.found = l.looked, false
		}
		if !f.found && f.next < at {
			f.next = f.find(l.buffer, f.next, at)
			f.found = f.next < at
		}
		if f.found && f.next < at {
			at, kind = f.next, f.kind
		}
	}
	return at, kind
}

// errExpanded ends the content of a container that is too large.
var errExpanded = errors.New("expands too far")

// open searches the container of a kind at looked, and leaves looked behind it.
func (l *layer) open(k *kind) {
	start := l.base + int64(l.looked)
	l.mark = l.looked
	inner, err := k.open(tap{l})
	if err == nil && inner.Reader != nil {
		err = l.descend(inner, start)
	}
	switch {
	case errors.Is(err, errExpanded):
		l.unseen(start, fmt.Sprintf("%s expands to more than %d bytes in all: not searched to its end", inner.name, l.limits.Expanded))
	case errors.Is(err, errTooLarge):
		l.unseen(start, k.name+" needs too much memory to be opened: not searched")
	}
	switch {
	case err == nil && l.base+int64(l.looked) > start:
	case l.mark >= 0: // what was none after all may hold one, or be followed by one
		l.looked = l.mark + 1
	default: // it was one, and ended in a way that its decoder does not know
		l.looked = max(l.looked-behind, 0)
	}
	l.mark = -1
}

// descend searches what is in a container.
func (l *layer) descend(inner content, start int64) error {
	if inner.close != nil {
		defer inner.close()
	}
	if l.depth >= l.limits.Depth {
		l.unseen(start, fmt.Sprintf("%s nests deeper than %d levels: not searched", inner.name, l.limits.Depth))
		return nil
	}
	source := inner.Reader
	if inner.compressed {
		source = &metered{inner.Reader, l.search}
	}
	below := newLayer(l.search, source)
	defer below.release()
	below.depth = l.depth + 1
	below.origin = l.place(int(start - l.base))
	below.within = inner.name
	if l.within != "" {
		below.within += " in " + l.within
	}
	return below.run()
}

// unseen reports a part of the input that was not searched.
func (l *layer) unseen(start int64, why string) {
	l.add(Finding{Encoding: why, Within: l.within, Offset: l.place(int(start - l.base))})
}

// metered counts what comes out of compressed parts.
type metered struct {
	io.Reader
	pass *search
}

// Read implements io.Reader.
func (m *metered) Read(p []byte) (int, error) {
	left := m.pass.limits.Expanded - m.pass.expanded
	if left <= 0 {
		// Exactly at the limit the content may be at its end as well.
		if n, err := m.Reader.Read(p[:1]); n == 0 && err != nil {
			return 0, err
		}
		return 0, errExpanded
	}
	n, err := m.Reader.Read(p[:min(int64(len(p)), left)])
	m.pass.expanded += int64(n)
	return n, err
}

package leak

import (
	"cmp"
	"errors"
	"fmt"
	"io"
	"slices"
	"sync"
)

const (
	// chunk is how much is read at once, in bytes: what stays in a core's cache. As
	// much is kept of a container, for the case that it turns out to be none.
	chunk = 128 << 10
	// behind is how much is kept before looked: some decoders read a little more
	// than their own.
	behind = 16
	// lookahead is how many bytes after a container's beginning are there when it
	// is judged.
	lookahead = 256
	// maxIdle is how often a reader may return nothing.
	maxIdle = 100
)

// search is one pass over one input, with all that is opened in it.
type search struct {
	*Scanner
	found    []Finding
	seen     map[key]bool
	expanded int64             // bytes that came out of compressed parts
	free     []*layer          // that were released
	sighted  map[sighting]bool // what was seen whole, where the positive control asks for it
}

// key tells findings apart of which only the first is kept.
type key struct {
	needle, encoding, within string
	truncated                bool
}

func (s *search) add(f Finding) {
	k := key{f.Needle, f.Encoding, f.Within, f.Truncated}
	if !s.seen[k] {
		s.seen[k] = true
		s.found = append(s.found, f)
	}
}

// scan is Scan with the findings of the positive control. It notes what was seen
// whole in sighted, unless that is nil.
func (s *Scanner) scan(r io.Reader, sighted map[sighting]bool) ([]Finding, error) {
	pass := &search{Scanner: s, seen: map[key]bool{}, sighted: sighted}
	l := newLayer(pass, r)
	err := l.run()
	l.release()
	for _, done := range pass.free {
		done.search = nil
		layers.Put(done)
	}
	slices.SortStableFunc(pass.found, func(a, b Finding) int { return cmp.Compare(a.Offset, b.Offset) })
	if err != nil {
		return pass.found, fmt.Errorf("reading what is scanned for secrets: %w", err)
	}
	return pass.found, nil
}

// layer is one stream of bytes: the input, or what comes out of a container in
// it. It searches the bytes as it reads them, and behind that it looks for
// containers. A container is opened on the spot: its decoder reads on from this
// layer, so that only one buffer for each level is needed.
type layer struct {
	*search
	source io.Reader
	within string // names the containers around, empty for the input
	origin int64  // in the input, of the outermost container
	depth  int

	buffer  []byte // what is in memory
	base    int64  // the offset of the buffer's beginning
	sampled int    // the next step of the search, in buffer
	looked  int    // up to here containers were looked for, in buffer
	mark    int    // in buffer: where the container that is read begins; -1 if that is gone
	err     error  // why there is no more to read
	finders []finder
	last    []match // the latest match of each needle that was seen
	matches []match // kept to be used again
}

// layers of earlier searches are used again, and so are those of this one that were
// released: most containers are small.
var layers = sync.Pool{New: func() any { return new(layer) }}

func newLayer(pass *search, source io.Reader) *layer {
	var l *layer
	if last := len(pass.free) - 1; last >= 0 {
		l, pass.free = pass.free[last], pass.free[:last]
	} else {
		l = layers.Get().(*layer)
	}
	buffer := l.buffer
	if size := 2*chunk + 2*(pass.index.longest+gram) + lookahead; cap(buffer) < size {
		buffer = make([]byte, 0, size)
	}
	*l = layer{
		search: pass, source: source, buffer: buffer[:0], mark: -1,
		finders: pass.appendFinders(l.finders[:0]), last: l.last[:0], matches: l.matches[:0],
	}
	return l
}

func (l *layer) release() {
	l.source = nil
	l.free = append(l.free, l)
}

// run searches the stream to its end.
func (l *layer) run() error {
	for {
		l.look()
		if !l.fill() {
			break
		}
	}
	if errors.Is(l.err, io.EOF) {
		return nil
	}
	return l.err
}

// fill reads on and searches what is new. It is false if there was nothing left.
func (l *layer) fill() bool {
	if l.err != nil {
		return false
	}
	// What a match may reach back to stays, and what may be looked at again.
	if l.looked-l.mark > chunk {
		l.mark = -1
	}
	drop := min(l.sampled-l.index.longest, l.looked-behind)
	if l.mark >= 0 {
		drop = min(drop, l.mark-behind)
	}
	drop = max(drop, 0)
	l.buffer = l.buffer[:copy(l.buffer, l.buffer[drop:])]
	l.base += int64(drop)
	l.sampled -= drop
	l.looked -= drop
	l.mark = max(l.mark-drop, -1)
	for i := range l.last {
		l.last[i].start -= drop
		l.last[i].end -= drop
	}
	for i := range l.finders {
		l.finders[i].next -= drop
	}
	before := len(l.buffer)
	for idle := 0; len(l.buffer) < cap(l.buffer) && l.err == nil; {
		var n int
		n, l.err = l.source.Read(l.buffer[len(l.buffer):cap(l.buffer)])
		l.buffer = l.buffer[:len(l.buffer)+n]
		if n > 0 {
			idle = 0
		} else if idle++; idle > maxIdle && l.err == nil {
			l.err = io.ErrNoProgress
		}
	}
	l.sample()
	return len(l.buffer) > before || l.err == nil
}

// sample searches as far as a match could be extended to its whole length.
func (l *layer) sample() {
	limit := len(l.buffer) - gram + 1
	if l.err == nil {
		limit -= l.index.longest
	}
	for {
		l.sampled = l.index.next(l.buffer, l.sampled, limit)
		if l.sampled >= limit {
			return
		}
		l.matches = l.index.matches(l.matches[:0], l.buffer, l.sampled)
		for _, m := range l.matches {
			l.report(m)
		}
		l.sampled += step
	}
}

// report makes a finding of a match, unless it is a part of the one before.
func (l *layer) report(m match) {
	if l.sighted != nil && !m.truncated {
		l.sighted[sighting{m.needle, m.form, l.within}] = true
	}
	i := slices.IndexFunc(l.last, func(o match) bool { return o.needle == m.needle })
	switch {
	case i < 0:
		l.last = append(l.last, m)
	case m.start >= l.last[i].start && m.end <= l.last[i].end:
		return
	default:
		l.last[i] = m
	}
	l.add(Finding{
		Needle: l.needles[m.needle].Name, Encoding: l.index.forms[m.form].name,
		Truncated: m.truncated, Within: l.within, Offset: l.place(m.start),
	})
}

// place is the offset in the input of what is at i in the buffer.
func (l *layer) place(i int) int64 {
	if l.depth > 0 {
		return l.origin
	}
	return l.base + int64(i)
}

// tap reads on from where a layer looks for containers.
type tap struct{ *layer }

// Read implements io.Reader.
func (t tap) Read(p []byte) (int, error) {
	rest, err := t.rest()
	n := copy(p, rest)
	t.looked += n
	return n, err
}

// ReadByte implements io.ByteReader: with it, flate reads no byte too much.
func (t tap) ReadByte() (byte, error) {
	rest, err := t.rest()
	if err != nil {
		return 0, err
	}
	t.looked++
	return rest[0], nil
}

// rest is what can be read without copying: at least one byte, or an error.
func (t tap) rest() ([]byte, error) {
	for t.looked >= len(t.buffer) {
		if !t.fill() {
			return nil, t.err
		}
	}
	return t.buffer[t.looked:], nil
}

// peek returns what can be read without moving on: at least lookahead bytes if
// there are as many.
func (t tap) peek() []byte {
	for len(t.buffer)-t.looked < lookahead && t.fill() {
	}
	return t.buffer[t.looked:]
}

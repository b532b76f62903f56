package leak

import (
	"cmp"
	"encoding/binary"
	"math/bits"
	"slices"
)

// The search rests on grams: pieces of 8 bytes of the forms. The text is looked
// at in steps of 5 bytes only, and in each step one multiplication and one bit of
// a table that fits into a core's cache tell whether a gram of any form may be
// there. Every window of a form is at least 12 bytes long, so some step falls on
// a gram that lies within it. From a gram that is there the match is extended to
// both sides, which finds whole forms and cut ones alike.
const (
	gram = 8
	step = MinNeedle - gram + 1
	mix  = 0x9E3779B97F4A7C15 // 2^64 divided by the golden ratio: spreads all bits upwards
)

// maxTable bounds the table of bits, in bits: 1 MiB, what a core's second cache holds.
const maxTable = 23

// index finds grams of forms.
type index struct {
	forms   []indexed
	longest int
	bits    []uint64
	shift   uint
	slots   []slot
	entries []entry
}

// indexed is a form and the number of the needle that it is of.
type indexed struct {
	form
	needle int
}

// slot is one place of a hash table with open addressing: the entries of one gram
// are entries[first:first+count].
type slot struct {
	gram         uint64
	first, count uint32
}

// entry says where in which form a gram is.
type entry struct{ form, at uint32 }

// match is a form, or enough of it, in a text from start to end.
type match struct {
	needle, form int
	start, end   int
	truncated    bool
}

func newIndex(needles [][]form) *index {
	x := &index{}
	type placed struct {
		gram uint64
		entry
	}
	var all []placed
	for needle, forms := range needles {
		for _, f := range forms {
			// The windows of a long form hold several steps; one that hits is enough.
			block := step * ((f.window - gram + 1) / step)
			for at := f.secret; at+gram <= len(f.text); at++ {
				if (at-f.secret)%block < step {
					all = append(all, placed{binary.LittleEndian.Uint64(f.text[at:]), entry{uint32(len(x.forms)), uint32(at)}})
				}
			}
			x.forms = append(x.forms, indexed{f, needle})
			x.longest = max(x.longest, len(f.text))
		}
	}
	slices.SortStableFunc(all, func(a, b placed) int { return cmp.Compare(a.gram, b.gram) })
	size := bits.Len(uint(len(all)))
	width := min(max(size+5, 15), maxTable) // one bit in 16 or fewer is set
	// The upper bits of a gram's hash choose a word, the next 12 two bits in it.
	x.shift = 64 - uint(width-6) - 12
	x.bits = make([]uint64, 1<<(width-6))
	x.slots = make([]slot, 1<<bits.Len(uint(len(all)+len(all)/4))) // a place in five is free at least
	for i := 0; i < len(all); {
		s := slot{gram: all[i].gram, first: uint32(i)}
		for ; i < len(all) && all[i].gram == s.gram; i++ {
			x.entries = append(x.entries, all[i].entry)
			s.count++
		}
		h := s.gram * mix >> x.shift
		x.bits[h>>12] |= 1<<(h&63) | 1<<(h>>6&63)
		*x.slot(s.gram) = s
	}
	return x
}

// slot returns the place of a gram, which is empty (count 0) if it is in no form.
func (x *index) slot(g uint64) *slot {
	mask := uint64(len(x.slots) - 1)
	// Other bits than those which chose the bit in the table, so that what passed
	// there by chance is spread here.
	i := (g ^ g>>29) * mix >> 20 & mask
	for x.slots[i].count > 0 && x.slots[i].gram != g {
		i = (i + 1) & mask
	}
	return &x.slots[i]
}

// next returns the first step from i on, below limit, at which there may be a
// gram; or the first step at or after limit. text has to be readable up to
// limit+7.
func (x *index) next(text []byte, i, limit int) int {
	table, shift := x.bits, x.shift
	test := func(i int) uint64 {
		h := binary.LittleEndian.Uint64(text[i:i+gram]) * mix >> (shift & 63) // the compiler need not guard the shift
		word := table[h>>12]
		return word >> (h & 63) & (word >> (h >> 6 & 63))
	}
	for ; i+3*step < limit; i += 4 * step {
		// One branch for four steps: it is almost never taken.
		if (test(i)|test(i+step)|test(i+2*step)|test(i+3*step))&1 != 0 {
			break
		}
	}
	for ; i < limit; i += step {
		if test(i)&1 != 0 {
			return i
		}
	}
	return i
}

// matches appends to found what is around the gram at i of text: of each needle
// the longest match, and of equally long ones the simplest form.
func (x *index) matches(found []match, text []byte, i int) []match {
	s := x.slot(binary.LittleEndian.Uint64(text[i:]))
	old := len(found)
next:
	for _, e := range x.entries[s.first : s.first+s.count] {
		f := &x.forms[e.form]
		from, to := int(e.at), int(e.at)+gram
		for from > 0 && i-int(e.at)+from > 0 && text[i-int(e.at)+from-1] == f.text[from-1] {
			from--
		}
		for to < len(f.text) && i-int(e.at)+to < len(text) && text[i-int(e.at)+to] == f.text[to] {
			to++
		}
		if to-max(from, f.secret) < f.window {
			continue
		}
		m := match{
			needle: f.needle, form: int(e.form), truncated: to-from < len(f.text),
			start: i - int(e.at) + from, end: i - int(e.at) + to,
		}
		for k := range found[old:] {
			if other := &found[old+k]; other.needle == m.needle {
				if length, best := m.end-m.start, other.end-other.start; length > best || length == best && other.truncated && !m.truncated {
					*other = m
				}
				continue next
			}
		}
		found = append(found, m)
	}
	return found
}

// all returns every match in text, by its start.
func (x *index) all(text []byte) []match {
	var found []match
	limit := len(text) - gram + 1
	for i := x.next(text, 0, limit); i < limit; i = x.next(text, i+step, limit) {
		found = x.matches(found, text, i)
	}
	slices.SortStableFunc(found, func(a, b match) int { return cmp.Compare(a.start, b.start) })
	return found
}

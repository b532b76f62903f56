package ops

import (
	"bytes"
	"io"
	"slices"
	"strings"
	"testing"
)

func TestLinesAcrossWrites(t *testing.T) {
	var got []string
	w := &lineWriter{look: func(line []byte) { got = append(got, string(line)) }}
	for _, part := range []string{"one nee", "dle here\n\nnothing\nneed", "le again\nthe last without an end"} {
		if n, err := io.WriteString(w, part); n != len(part) || err != nil {
			t.Fatalf("%d bytes written, error %v", n, err)
		}
	}
	w.end()
	w.end() // once is enough
	if want := []string{"one needle here", "", "nothing", "needle again", "the last without an end"}; !slices.Equal(got, want) {
		t.Errorf("lines %q, want %q", got, want)
	}
}

// TestALineWithoutEnd: nothing is missed in it, and it is never held as a whole.
func TestALineWithoutEnd(t *testing.T) {
	longest := 0
	m := &mentions{word: "needle"}
	w := &lineWriter{look: func(line []byte) {
		longest = max(longest, len(line))
		m.look(line)
	}}
	// The seam of the first two pieces is in the middle of the word.
	_, _ = w.Write(bytes.Repeat([]byte("x"), longestLine-2))
	_, _ = io.WriteString(w, "needle")
	for range 64 {
		_, _ = w.Write(bytes.Repeat([]byte("x"), longestLine/4))
	}
	w.end()
	if len(m.lines) == 0 || longest > 2*longestLine || cap(w.rest) > 4*longestLine {
		t.Errorf("%d pieces mention the word, the longest piece has %d bytes, %d are held", len(m.lines), longest, cap(w.rest))
	}
}

func TestMentionsAreFew(t *testing.T) {
	m := &mentions{word: "needle"}
	w := &lineWriter{look: m.look}
	_, _ = io.WriteString(w, strings.Repeat("needle\nhay\n", 10*mostMentions))
	if len(m.lines) != mostMentions || m.lines[0] != "needle" {
		t.Errorf("%d lines are kept, want %d", len(m.lines), mostMentions)
	}
}

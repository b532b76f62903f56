package ops

import "bytes"

const (
	// longestLine is how much of a line is kept, in bytes. Vault's records and logs
	// are far shorter; what has no line ends at all must not fill the memory.
	longestLine = 1 << 20
	// overlap is how much of a line that is too long two of its pieces share, so
	// that a word at the seam is in one of them.
	overlap = 4 << 10
)

// lineWriter hands what is written to it on line by line, and a line that is too
// long in pieces. look must not keep the bytes.
type lineWriter struct {
	look func(line []byte)
	rest []byte // the beginning of a line
}

// Write implements io.Writer.
func (w *lineWriter) Write(p []byte) (int, error) {
	written := len(p)
	for {
		head, tail, ended := bytes.Cut(p, []byte("\n"))
		if ended && len(w.rest) == 0 {
			w.look(head)
			p = tail
			continue
		}
		w.rest = append(w.rest, head...)
		if ended {
			w.look(w.rest)
			w.rest, p = w.rest[:0], tail
			continue
		}
		if len(w.rest) > longestLine {
			w.look(w.rest)
			w.rest = w.rest[:copy(w.rest, w.rest[len(w.rest)-overlap:])]
		}
		return written, nil
	}
}

// end takes what is left for the last line.
func (w *lineWriter) end() {
	if len(w.rest) > 0 {
		w.look(w.rest)
		w.rest = w.rest[:0]
	}
}

// mostMentions is how many lines mentions keeps.
const mostMentions = 64

// mentions keeps the first lines written to it that contain a word.
type mentions struct {
	word  string
	lines []string
}

func (m *mentions) look(line []byte) {
	if len(m.lines) < mostMentions && bytes.Contains(line, []byte(m.word)) {
		m.lines = append(m.lines, string(line))
	}
}

package leak

import (
	"bytes"
	"io"
)

// minLine is the shortest line that something may be wrapped to, in characters.
const minLine = 4

// findWrapped finds two lines, each of one word, of which the second is not the
// longer: something wrapped to narrow lines. What is wrapped to lines of minRun or
// more needs no joining: a part of a secret that is long enough is on one of them.
func findWrapped(text []byte, from, limit int) int {
	for from < limit {
		// Up to lookahead after limit the text is there, so that a short line is whole.
		length := bytes.IndexByte(text[from:min(limit+lookahead, len(text))], '\n')
		if length < 0 {
			length = len(text) - from
		}
		if length < minRun+maxIndent && (from == 0 || text[from-1] == '\n') {
			first, after := word(text[from:min(from+lookahead, len(text))])
			second, _ := word(after)
			if len(first) >= minLine && len(second) > 0 && len(second) <= len(first) {
				return from
			}
		}
		from += length + 1
	}
	return limit
}

// word returns the word that the first line of text consists of, and what follows
// the line. It is empty if there is another word in the line, or if it is long.
func word(text []byte) (only, after []byte) {
	start := 0
	for start < len(text) && (text[start] == ' ' || text[start] == '\t') {
		start++
	}
	end := start
	for end < len(text) && text[end] > ' ' {
		if end++; end-start >= minRun {
			return nil, nil
		}
	}
	next := end
	for next < len(text) && (text[next] == ' ' || text[next] == '\t' || text[next] == '\r') {
		next++
	}
	if next == len(text) {
		return text[start:end], nil
	}
	if text[next] != '\n' {
		return nil, nil
	}
	return text[start:end], text[next+1:]
}

func openWrapped(t tap) (content, error) {
	return content{Reader: &joined{tap: t}, name: "wrapped lines"}, nil
}

// joined reads lines of one word as one word, as long as they are of one length;
// the last one may be shorter.
type joined struct {
	tap
	width int // of the lines
	line  []byte
	ended bool
}

// Read implements io.Reader.
func (j *joined) Read(p []byte) (int, error) {
	if len(j.line) == 0 && !j.ended {
		j.advance()
	}
	if len(j.line) == 0 {
		return 0, io.EOF
	}
	n := copy(p, j.line)
	j.line = j.line[n:]
	return n, nil
}

// advance takes the next line, if it goes on with what was wrapped.
func (j *joined) advance() {
	ahead := j.peek()
	ahead = ahead[:min(lookahead, len(ahead))]
	line, after := word(ahead)
	if j.width == 0 {
		j.width = len(line)
	}
	if len(line) == 0 || len(line) > j.width {
		j.ended = true
		return
	}
	j.ended = len(line) < j.width
	j.line = append(j.line[:0], line...)
	j.looked += len(ahead) - len(after)
}

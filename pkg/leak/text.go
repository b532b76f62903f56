package leak

import (
	"bytes"
	"io"
)

// minRun is how long a run of base64 or hex has to be to be decoded, in
// characters. Shorter ones cannot hold a compressed secret, and what they hold as
// it is has a form of its own.
const minRun = 40

const (
	outside = 0xff // no character of base64
	escape  = 0xfe // begins an escape, of JSON or of a URL
)

// sextets gives the value of a character of base64 in either alphabet, and
// hexits that of a hex digit.
var sextets, hexits = func() (six, four [256]byte) {
	for i := range six {
		six[i], four[i] = outside, outside
	}
	for i, c := range []byte("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/") {
		six[c] = byte(i)
	}
	six['-'], six['_'] = 62, 63
	for i, c := range []byte("0123456789abcdef") {
		four[c] = byte(i)
		four[bytes.ToUpper([]byte{c})[0]] = byte(i)
	}
	six['\\'], six['%'] = escape, escape
	four['\\'], four['%'] = escape, escape
	return six, four
}()

// findRun finds minRun characters of base64 in a row, escapes counted in.
func findRun(text []byte, from, limit int) int {
next:
	for from < limit && from+minRun <= len(text) {
		// From its end: text that is none is left after a few characters.
		for i := from + minRun - 1; i >= from; i-- {
			if sextets[text[i]] == outside {
				from = i + 1
				continue next
			}
		}
		return from
	}
	return limit
}

// openRun decodes a run as hex, if it begins with nothing but hex digits, or else
// as base64.
func openRun(t tap) (content, error) {
	head := beginning(t.peek())
	// Where escapes make up most of it, too little is left to hold anything.
	if len(head) < minRun/2 {
		return content{}, nil
	}
	for _, c := range head {
		if hexits[c] == outside {
			return content{Reader: &run{tap: t, values: &sextets, width: 6, skip: phase(head)}, name: "base64"}, nil
		}
	}
	return content{Reader: &run{tap: t, values: &hexits, width: 4}, name: "hex"}, nil
}

// beginning returns the first characters of a run, minRun at most, unescaped and
// without line breaks.
func beginning(text []byte) []byte {
	var head []byte
	for len(text) > 0 && len(head) < minRun {
		c, size := text[0], 1
		if sextets[c] == escape {
			c, size = unescape(text)
		}
		switch {
		case c == '\n' || c == '\r':
		case size == 0 || sextets[c] >= escape:
			return head
		default:
			head = append(head, c)
		}
		text = text[size:]
	}
	return head
}

// phase tells how many characters are before the base64 proper, by what it would
// decode to: a byte of a length, in protobuf, may look like a character of it.
func phase(head []byte) int {
	for skip := range 4 {
		begin := decodeHead(head[skip:])
		for _, magic := range []string{"\x1f\x8b\x08", "\x28\xb5\x2f\xfd", "PK\x03\x04", "H4sI", "KLUv", "UEsD"} {
			if bytes.HasPrefix(begin, []byte(magic)) {
				return skip
			}
		}
	}
	for skip := range 4 {
		printable := true
		for _, c := range decodeHead(head[skip:]) {
			printable = printable && (c >= ' ' && c <= '~' || c == '\n' || c == '\t' || c == '\r')
		}
		if printable {
			return skip
		}
	}
	return 0
}

func decodeHead(head []byte) []byte {
	var out []byte
	var bits, n uint
	for _, c := range head {
		bits, n = bits<<6|uint(sextets[c]), n+6
		if n >= 8 {
			n -= 8
			out = append(out, byte(bits>>n))
		}
	}
	return out
}

// run decodes base64 or hex up to the first character that is none. It passes over
// line breaks within, and over indentation, and understands escaped characters.
type run struct {
	tap
	values *[256]byte
	width  uint // bits of a character
	skip   int  // characters before the first one
	line   int  // characters since the last line break
	bits   uint
	n      uint // how many bits are pending
	ended  bool
}

// Read implements io.Reader.
func (r *run) Read(p []byte) (int, error) {
	done := 0
	for done < len(p) && !r.ended {
		n, used := r.decode(p[done:], r.buffer[r.looked:])
		done += n
		r.looked += used
		r.line += used
		if done == len(p) {
			break
		}
		// What stopped it is the end of the buffer, a line break or an escape.
		c, ok := r.character()
		if !ok {
			r.ended = true
			break
		}
		n, _ = r.decode(p[done:], []byte{c})
		done += n
	}
	if done == 0 && r.ended {
		return 0, io.EOF
	}
	return done, nil
}

// decode writes to p what plain characters at the beginning of text come to. It
// returns how many bytes it wrote, and how many characters it took.
func (r *run) decode(p, text []byte) (done, used int) {
	for _, c := range text {
		value := r.values[c]
		if value >= escape || done == len(p) {
			break
		}
		used++
		if r.skip > 0 {
			r.skip--
			continue
		}
		r.bits, r.n = r.bits<<r.width|uint(value), r.n+r.width
		if r.n >= 8 {
			r.n -= 8
			p[done] = byte(r.bits >> r.n)
			done++
		}
	}
	return done, used
}

// character returns the next character, unescaped.
func (r *run) character() (byte, bool) {
	for {
		rest, err := r.rest()
		if err != nil {
			return 0, false
		}
		c := rest[0]
		if r.values[c] < escape {
			r.looked++
			r.line++
			return c, true
		}
		if r.values[c] == outside {
			// Lines of other lengths are texts of their own, each at its own phase.
			if c != '\n' && c != '\r' || r.line%4 != 0 || !r.passBreak() {
				return 0, false
			}
			continue
		}
		plain, size := unescape(r.peek())
		switch {
		case size > 0 && (plain == '\n' || plain == '\r'):
			r.looked += size
			r.passSpaces()
		case size > 0 && r.values[plain] < escape:
			r.looked += size
			r.line++
			return plain, true
		default:
			return 0, false
		}
	}
}

// passSpaces passes over the indentation after an escaped line break.
func (r *run) passSpaces() {
	for rest := r.peek(); len(rest) > 0 && rest[0] == ' '; rest = r.peek() {
		r.looked++
	}
}

// maxIndent is how far lines may be indented, with the break itself.
const maxIndent = 64

// passBreak passes over a line break and the indentation of the next line. It is
// false, and nothing is passed over, if what follows is no character.
func (r *run) passBreak() bool {
	ahead := r.peek()
	indent := len(ahead) - len(bytes.TrimLeft(ahead, "\r\n\t "))
	if indent > maxIndent || indent == len(ahead) || r.values[ahead[indent]] >= escape {
		return false
	}
	r.looked += indent
	r.line = 0
	return true
}

// unescape reads an escaped character of JSON (\/, \u002b, \n) or of a URL (%2B,
// %252B) at the beginning of text, and tells its length there, 0 if it is none.
func unescape(text []byte) (plain byte, size int) {
	switch {
	case len(text) >= 2 && text[0] == '\\' && text[1] == '/':
		return '/', 2
	case len(text) >= 2 && text[0] == '\\' && text[1] == 'n':
		return '\n', 2
	case len(text) >= 2 && text[0] == '\\' && text[1] == 'r':
		return '\r', 2
	case len(text) >= 6 && bytes.EqualFold(text[:4], []byte(`\u00`)):
		return hexByte(text[4:6]), 6
	case len(text) >= 5 && string(text[:3]) == "%25":
		return hexByte(text[3:5]), 5
	case len(text) >= 3 && text[0] == '%':
		return hexByte(text[1:3]), 3
	}
	return 0, 0
}

// hexByte is 0, which is no character of base64, if text is no hex.
func hexByte(text []byte) byte {
	high, low := hexits[text[0]], hexits[text[1]]
	if high > 15 || low > 15 {
		return 0
	}
	return high<<4 | low
}

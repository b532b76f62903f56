package snapshot

import (
	"bytes"
	"errors"
	"fmt"
	"io"
)

// tap passes a snapshot on and checks it on the way. Where the snapshot ends,
// it ends with io.EOF only if that was a whole one, and else with what is wrong,
// so that whoever stores it does not store a bad one.
type tap struct {
	source  io.Reader
	pipe    *io.PipeWriter
	meta    chan Meta     // of the beginning
	verdict chan error    // of all
	head    *bytes.Buffer // read ahead to learn the meta data
	ended   error
}

func newTap(source io.Reader) *tap {
	out, in := io.Pipe()
	t := &tap{source: source, pipe: in, meta: make(chan Meta, 1), verdict: make(chan error, 1), head: &bytes.Buffer{}}
	go func() {
		_, err := check(out, func(m Meta) {
			select {
			case t.meta <- m:
			default: // a second file of that name does not matter
			}
		})
		out.CloseWithError(errStopped)
		t.verdict <- err
	}()
	return t
}

// errStopped: the checking side has its verdict already.
var errStopped = errors.New("the check has ended")

// begin reads as far as it takes to know the meta data.
func (t *tap) begin() (Meta, error) {
	piece := make([]byte, 4096)
	for {
		select {
		case m := <-t.meta:
			return m, nil
		default:
		}
		n, err := t.next(piece)
		t.head.Write(piece[:n])
		if err == nil && t.head.Len() > 2*small {
			_ = t.end(ErrBad)
			return Meta{}, fmt.Errorf("%w: it does not begin with %s", ErrBad, metaFile)
		}
		if err != nil {
			// All was read, so if there is meta data it is known.
			select {
			case m := <-t.meta:
				return m, nil
			default:
				return Meta{}, err
			}
		}
	}
}

// Read implements io.Reader.
func (t *tap) Read(p []byte) (int, error) {
	if t.head.Len() > 0 {
		return t.head.Read(p)
	}
	if t.ended != nil {
		return 0, t.ended
	}
	return t.next(p)
}

func (t *tap) next(p []byte) (int, error) {
	n, err := t.source.Read(p)
	if n > 0 {
		if _, writeErr := t.pipe.Write(p[:n]); writeErr != nil {
			return n, t.end(nil)
		}
	}
	if errors.Is(err, io.EOF) {
		return n, t.end(nil)
	} else if err != nil {
		return n, t.end(err)
	}
	return n, nil
}

// end closes the check and gives its verdict, or cause if that is why.
func (t *tap) end(cause error) error {
	t.pipe.CloseWithError(cause) // nil is an end of file
	t.ended = <-t.verdict
	if cause != nil {
		t.ended = cause
	} else if t.ended == nil {
		t.ended = io.EOF
	}
	return t.ended
}

// close ends the check of a tap that nobody reads any more.
func (t *tap) close() {
	if t.ended == nil {
		_ = t.end(io.ErrClosedPipe)
	}
}

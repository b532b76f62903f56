package timeline

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"
	"sync"
	"time"
)

// Log collects events from many goroutines, keeps them in memory and writes
// each to a stream as it comes.
type Log struct {
	mu     sync.Mutex
	out    io.Writer
	err    error // the first failure to write; nothing is written after it
	closed bool
	events []Event
}

// New returns a Log that writes newline-delimited JSON to w. A nil w keeps
// the events in memory only.
func New(w io.Writer) *Log {
	return &Log{out: w}
}

// Append records an event. It never fails a run: when the stream cannot be
// written (a full disk, say) events are kept in memory, and Close tells why.
// An event without a time gets the present one. Events after Close are
// dropped.
func (l *Log) Append(e Event) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.closed {
		return
	}
	if e.At.IsZero() {
		e.At = time.Now()
	}
	l.events = append(l.events, e)
	if l.out == nil || l.err != nil {
		return
	}
	line, err := json.Marshal(e)
	if err == nil {
		// One write per event: a killed process cuts at most the last line.
		_, err = l.out.Write(append(line, '\n'))
	}
	if err != nil {
		l.err = fmt.Errorf("writing the timeline: %w", err)
	}
}

// Events returns a copy of all events so far, sorted by time.
func (l *Log) Events() []Event {
	l.mu.Lock()
	events := slices.Clone(l.events)
	l.mu.Unlock()
	Sort(events)
	return events
}

// Between returns a sorted copy of the events at or after from and before to.
func (l *Log) Between(from, to time.Time) []Event {
	return Between(l.Events(), from, to)
}

// Close ends the log and closes the stream if it can be closed. It returns
// the first error of writing or closing. Closing twice is harmless.
func (l *Log) Close() error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.closed {
		return nil
	}
	l.closed = true
	if c, ok := l.out.(io.Closer); ok {
		if err := c.Close(); err != nil && l.err == nil {
			l.err = fmt.Errorf("closing the timeline: %w", err)
		}
	}
	return l.err
}

// Read reads a stream that a Log wrote, sorted by time. A last line cut short
// by a process that was killed is left out; a broken line anywhere else is an
// error that names the line.
func Read(r io.Reader) ([]Event, error) {
	var events []Event
	if err := Scan(r, func(e Event) { events = append(events, e) }); err != nil {
		return nil, err
	}
	Sort(events)
	return events, nil
}

// Scan reads a stream as Read does and gives each event to take, in the order in
// which they were written. It is for streams of which not everything is to be
// kept.
func Scan(r io.Reader, take func(Event)) error {
	in := bufio.NewReader(r)
	for n := 1; ; n++ {
		line, err := in.ReadBytes('\n')
		if err != nil && !errors.Is(err, io.EOF) {
			return fmt.Errorf("reading the timeline at line %d: %w", n, err)
		}
		last := err != nil
		if len(bytes.TrimSpace(line)) > 0 {
			var e Event
			if err := json.Unmarshal(line, &e); err == nil {
				take(e)
			} else if !last {
				return fmt.Errorf("reading the timeline: line %d is no event: %w", n, err)
			}
		}
		if last {
			return nil
		}
	}
}

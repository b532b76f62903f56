package fault

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"sync"
	"time"
)

// JournalFile is the name of the journal in a run's directory.
const JournalFile = "journal.ndjson"

// Ref names what must be undone: an object to delete, or one to put right. The file of
// the fault says how, by kind.
type Ref struct {
	Kind      string `json:"kind"`
	Namespace string `json:"namespace,omitempty"`
	Name      string `json:"name"`
}

// String is namespace/name with the kind before it.
func (r Ref) String() string {
	if r.Namespace == "" {
		return r.Kind + " " + r.Name
	}
	return r.Kind + " " + r.Namespace + "/" + r.Name
}

// Entry is one line of the journal: something that must be undone, or with Done
// set, that it was.
type Entry struct {
	At   time.Time `json:"at"`
	Run  string    `json:"run"`
	Ref  Ref       `json:"ref"`
	Done bool      `json:"done,omitempty"`
}

// Journal is the list of what must be undone, one JSON object a line. A line is
// on the disk before Begin returns. It is safe for several goroutines.
type Journal struct {
	mu   sync.Mutex
	file *os.File
	run  string
}

// OpenJournal opens the journal at path for appending, and creates it.
func OpenJournal(path, run string) (*Journal, error) {
	file, err := os.OpenFile(path, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o644)
	if err != nil {
		return nil, fmt.Errorf("opening the journal of faults: %w", err)
	}
	return &Journal{file: file, run: run}, nil
}

// Begin records what is about to be created. If it fails, nothing may be
// created: it could not be cleaned up after a crash.
func (j *Journal) Begin(ref Ref) error { return j.write(Entry{At: time.Now(), Run: j.run, Ref: ref}) }

// Done records that ref is gone.
func (j *Journal) Done(ref Ref) error {
	return j.write(Entry{At: time.Now(), Run: j.run, Ref: ref, Done: true})
}

// Close closes the file.
func (j *Journal) Close() error { return j.file.Close() }

func (j *Journal) write(e Entry) error {
	line, err := json.Marshal(e)
	if err != nil {
		return fmt.Errorf("encoding a journal entry: %w", err)
	}
	j.mu.Lock()
	defer j.mu.Unlock()
	if _, err := j.file.Write(append(line, '\n')); err != nil {
		return fmt.Errorf("writing the journal of faults: %w", err)
	}
	if err := j.file.Sync(); err != nil {
		return fmt.Errorf("writing the journal of faults to disk: %w", err)
	}
	return nil
}

// Open reads a journal and returns what was begun and not done, oldest first. A
// last line cut short by a crash was not begun: Begin had not returned. A
// broken line elsewhere is an error.
func Open(r io.Reader) ([]Entry, error) {
	var (
		open   []Entry
		broken error
		lines  = bufio.NewScanner(r)
	)
	for n := 1; lines.Scan(); n++ {
		if broken != nil {
			return open, broken
		}
		var e Entry
		if err := json.Unmarshal(lines.Bytes(), &e); err != nil {
			broken = fmt.Errorf("line %d of the journal: %w", n, err)
			continue
		}
		if e.Ref.Name == "" {
			return open, fmt.Errorf("line %d of the journal names nothing: %w", n, errors.ErrUnsupported)
		}
		if !e.Done {
			open = append(open, e)
			continue
		}
		kept := open[:0]
		for _, o := range open {
			if o.Ref != e.Ref {
				kept = append(kept, o)
			}
		}
		open = kept
	}
	if err := lines.Err(); err != nil {
		return open, fmt.Errorf("reading the journal: %w", err)
	}
	return open, nil
}

// Package history holds the operations that clients saw and judges them:
// whether an acknowledged write was lost, and whether every key behaved as one
// linearizable compare-and-set register although the cluster was broken
// underneath it.
//
// A history is saved before it is judged, so that a judgement can be repeated
// without the cluster.
package history

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
)

// Kind is what an operation does to its key.
type Kind string

// The kinds of operations.
const (
	// Read reads the value and the version of a key.
	Read Kind = "read"
	// Write sets a key to Value if its version is CAS.
	Write Kind = "write"
)

// Outcome is what a client knows about an operation when it ends.
type Outcome string

// The outcomes. A doubtful case is always Unknown: a Fail that took place
// after all would turn into a false accusation.
const (
	// OK: Vault acknowledged the operation.
	OK Outcome = "ok"
	// Fail: the operation has certainly had no effect and never will.
	Fail Outcome = "fail"
	// Unknown: the operation may have had its effect, or may still have it.
	Unknown Outcome = "unknown"
)

// Op is one operation, as its client saw it.
type Op struct {
	// Client numbers sequential clients: two operations of one client never
	// overlap. A client whose operation ended Unknown issues no more.
	Client int `json:"client"`
	// Kind is Read or Write.
	Kind Kind `json:"kind"`
	// Key names the register.
	Key string `json:"key"`
	// Value is what was written, or what was read; every write of a history
	// has a value of its own. A read of a key that does not exist has none.
	Value string `json:"value,omitempty"`
	// CAS is the version that a write demands; 0 means "must not exist".
	CAS int `json:"cas,omitempty"`
	// Version is the version Vault gave to a write, or the one that was read.
	// It is 0 for a key that does not exist, and for a write without answer.
	Version int `json:"version,omitempty"`
	// Call and Return bound the operation, in nanoseconds of one clock.
	Call   int64 `json:"call"`
	Return int64 `json:"return"`
	// Outcome is ok, fail or unknown.
	Outcome Outcome `json:"outcome"`
	// Pod is the pod that answered, empty when none did.
	Pod string `json:"pod,omitempty"`
	// Error is why an operation is not OK. It never holds a secret.
	Error string `json:"error,omitempty"`
}

// State is the last state of a key, read after the cluster has healed.
type State struct {
	Version int    `json:"version"`
	Value   string `json:"value"`
}

// Validate tells what is wrong with an operation, or nil.
func (o Op) Validate() error {
	switch {
	case o.Kind != Read && o.Kind != Write:
		return fmt.Errorf("kind is %q, want read or write", o.Kind)
	case o.Outcome != OK && o.Outcome != Fail && o.Outcome != Unknown:
		return fmt.Errorf("outcome is %q, want ok, fail or unknown", o.Outcome)
	case o.Key == "":
		return errors.New("the key is empty")
	case o.Return < o.Call:
		return fmt.Errorf("it returned %d ns before it was called", o.Call-o.Return)
	case o.Kind == Write && o.Value == "":
		return errors.New("a write has no value")
	}
	return nil
}

// Save writes operations as newline-delimited JSON to path. The file appears
// whole or not at all.
func Save(path string, ops []Op) (err error) {
	f, err := os.CreateTemp(filepath.Dir(path), ".history-*")
	if err != nil {
		return fmt.Errorf("saving the history: %w", err)
	}
	defer func() {
		if err != nil {
			_ = f.Close()
			_ = os.Remove(f.Name())
			err = fmt.Errorf("saving the history to %s: %w", path, err)
		}
	}()
	buf := bufio.NewWriterSize(f, 1<<16)
	enc := json.NewEncoder(buf)
	for i := range ops {
		if err := enc.Encode(&ops[i]); err != nil {
			return err
		}
	}
	if err := buf.Flush(); err != nil {
		return err
	}
	if err := f.Chmod(0o644); err != nil {
		return err
	}
	if err := f.Close(); err != nil {
		return err
	}
	return os.Rename(f.Name(), path)
}

// Load reads what Save wrote. A line that is no operation is an error that
// names the line: judging half a history would prove nothing.
func Load(path string) ([]Op, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, fmt.Errorf("loading the history: %w", err)
	}
	defer f.Close()
	var ops []Op
	in := bufio.NewReaderSize(f, 1<<16)
	for n := 1; ; n++ {
		line, err := in.ReadBytes('\n')
		if err != nil && !errors.Is(err, io.EOF) {
			return nil, fmt.Errorf("loading the history from %s: %w", path, err)
		}
		if line = bytes.TrimSpace(line); len(line) > 0 {
			var op Op
			if err := json.Unmarshal(line, &op); err != nil {
				return nil, fmt.Errorf("loading the history from %s: line %d is no operation: %w", path, n, err)
			}
			if err := op.Validate(); err != nil {
				return nil, fmt.Errorf("loading the history from %s: line %d: %w", path, n, err)
			}
			ops = append(ops, op)
		}
		if err != nil {
			return ops, nil
		}
	}
}

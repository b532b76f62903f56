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
	"unique"
)

// Save writes operations as newline-delimited JSON to path. The file appears
// whole or not at all.
func Save(path string, ops []Op) error {
	err := writeWhole(path, func(enc *json.Encoder) error {
		for i := range ops {
			if err := enc.Encode(&ops[i]); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		return fmt.Errorf("saving the history to %s: %w", path, err)
	}
	return nil
}

// SaveFinal writes what the load found at its end to path. The file appears
// whole or not at all.
func SaveFinal(path string, final Final) error {
	err := writeWhole(path, func(enc *json.Encoder) error { return enc.Encode(final) })
	if err != nil {
		return fmt.Errorf("saving the final state to %s: %w", path, err)
	}
	return nil
}

func writeWhole(path string, write func(*json.Encoder) error) (err error) {
	f, err := os.CreateTemp(filepath.Dir(path), ".history-*")
	if err != nil {
		return err
	}
	defer func() {
		if err != nil {
			_ = f.Close()
			_ = os.Remove(f.Name())
		}
	}()
	buf := bufio.NewWriterSize(f, 1<<16)
	if err := write(json.NewEncoder(buf)); err != nil {
		return err
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
	// Lines are counted first: a list of a million operations that grows as it
	// is read takes more than twice its memory.
	lines, err := countLines(f)
	if err != nil {
		return nil, fmt.Errorf("loading the history from %s: %w", path, err)
	}
	ops := make([]Op, 0, lines)
	in := bufio.NewReaderSize(f, 1<<16)
	for n := 1; ; n++ {
		line, err := in.ReadBytes('\n')
		if err != nil && !errors.Is(err, io.EOF) {
			return nil, fmt.Errorf("loading the history from %s: %w", path, err)
		}
		if line = bytes.TrimSpace(line); len(line) > 0 {
			op, err := parse(line)
			if err != nil {
				return nil, fmt.Errorf("loading the history from %s: line %d %w", path, n, err)
			}
			ops = append(ops, op)
		}
		if err != nil {
			return ops, nil
		}
	}
}

// parse reads one line. Its error goes on from the words "line 3".
func parse(line []byte) (Op, error) {
	var op Op
	if err := json.Unmarshal(line, &op); err != nil {
		return op, fmt.Errorf("is no operation: %w", err)
	}
	if err := op.Validate(); err != nil {
		return op, fmt.Errorf("makes no sense: %w", err)
	}
	// One copy of the words that come again and again.
	op.Kind, op.Outcome = unique.Make(op.Kind).Value(), unique.Make(op.Outcome).Value()
	op.Key, op.Pod, op.Error = unique.Make(op.Key).Value(), unique.Make(op.Pod).Value(), unique.Make(op.Error).Value()
	return op, nil
}

// LoadFinal reads what SaveFinal wrote.
func LoadFinal(path string) (Final, error) {
	var final Final
	text, err := os.ReadFile(path)
	if err != nil {
		return final, fmt.Errorf("loading the final state: %w", err)
	}
	if err := json.Unmarshal(text, &final); err != nil {
		return final, fmt.Errorf("loading the final state from %s: %w", path, err)
	}
	return final, nil
}

// countLines counts the lines of f, the last one whole or not, and goes back to
// its beginning.
func countLines(f *os.File) (int, error) {
	lines := 1
	buf := make([]byte, 1<<16)
	for {
		n, err := f.Read(buf)
		lines += bytes.Count(buf[:n], []byte{'\n'})
		if errors.Is(err, io.EOF) {
			_, err = f.Seek(0, io.SeekStart)
			return lines, err
		}
		if err != nil {
			return 0, err
		}
	}
}

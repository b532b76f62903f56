package report

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"math"
	"os"
	"path/filepath"
	"regexp"

	"github.com/vaultproof/vaultproof/pkg/timeline"
)

// The files of a report, inside the directory of its run.
const (
	JSONFile  = "report.json"
	JUnitFile = "junit.xml"
	HTMLFile  = "report.html"
)

// Write writes report.json, junit.xml and report.html into dir, which it
// creates. Each file appears whole or not at all, and each is tried even if
// another cannot be made. Nothing that r says is changed; call Judge first.
func Write(dir string, r *Report, events []timeline.Event) error {
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return fmt.Errorf("making the report's directory: %w", err)
	}
	r.dir = dir
	clean := tidy(r)
	files := []struct {
		name   string
		render func(*bytes.Buffer) error
	}{
		{JSONFile, func(b *bytes.Buffer) error { return writeJSON(b, clean) }},
		{JUnitFile, func(b *bytes.Buffer) error { return writeJUnit(b, clean) }},
		{HTMLFile, func(b *bytes.Buffer) error { return writeHTML(b, clean, events) }},
	}
	var failed []error
	for _, f := range files {
		var b bytes.Buffer
		err := f.render(&b)
		if err == nil {
			err = replace(filepath.Join(dir, f.name), redact(b.Bytes()))
		}
		if err != nil {
			failed = append(failed, fmt.Errorf("writing %s: %w", f.name, err))
		}
	}
	return errors.Join(failed...)
}

// Load reads the report.json of the run in dir.
func Load(dir string) (*Report, error) { return Read(filepath.Join(dir, JSONFile)) }

// Read reads the report.json at path.
func Read(path string) (*Report, error) {
	data, err := os.ReadFile(path)
	if err != nil {
		return nil, fmt.Errorf("reading the report: %w", err)
	}
	var r Report
	if err := json.Unmarshal(data, &r); err != nil {
		return nil, fmt.Errorf("reading the report %s: it is no report.json: %w", path, err)
	}
	if r.Schema != Schema {
		return nil, fmt.Errorf("reading the report %s: its schema is %q, and only %q is understood", path, r.Schema, Schema)
	}
	r.dir = filepath.Dir(path)
	return &r, nil
}

// Link makes artifactsDir/latest point to the run's directory, replacing the
// link of an earlier run in one step.
func Link(artifactsDir, runID string) error {
	latest := filepath.Join(artifactsDir, "latest")
	next := fmt.Sprintf("%s.%d", latest, os.Getpid())
	if err := os.Symlink(runID, next); err != nil {
		return fmt.Errorf("linking %s to run %s: %w", latest, runID, err)
	}
	if err := os.Rename(next, latest); err != nil {
		return errors.Join(fmt.Errorf("linking %s to run %s: %w", latest, runID, err), os.Remove(next))
	}
	return nil
}

// tidy returns a copy of r in stable order that any encoder can take: no nil
// lists, and no number that JSON cannot hold.
func tidy(r *Report) *Report {
	t := *r
	t.Schema = Schema
	t.Required = sortedIDs(r.Required)
	t.Reasons = append([]string{}, r.Reasons...)
	t.Checks = append([]Check{}, inOrder(r.Checks)...)
	t.Faults = append([]Fault{}, inTime(r.Faults)...)
	t.Target.Nodes = append([]Node{}, r.Target.Nodes...)
	t.Target.Images = maps.Clone(r.Target.Images)
	if t.Target.Images == nil {
		t.Target.Images = map[string]string{}
	}
	for i := range t.Checks {
		c := &t.Checks[i]
		c.Seconds = finite(c.Seconds)
		c.Measurements = maps.Clone(c.Measurements)
		maps.DeleteFunc(c.Measurements, func(_ string, v float64) bool { return v != finite(v) })
	}
	for i := range t.Faults {
		f := &t.Faults[i]
		f.OutageMS, f.BudgetMS = finite(f.OutageMS), finite(f.BudgetMS)
		for _, phase := range f.Phases.list() {
			if phase.at != nil && *phase.at != finite(*phase.at) {
				phase.clear()
			}
		}
	}
	return &t
}

// finite returns v, or 0 for what JSON has no number for.
func finite(v float64) float64 {
	if math.IsNaN(v) || math.IsInf(v, 0) {
		return 0
	}
	return v
}

func writeJSON(b *bytes.Buffer, r *Report) error {
	enc := json.NewEncoder(b)
	enc.SetEscapeHTML(false)
	enc.SetIndent("", "  ")
	return enc.Encode(r)
}

// vaultToken matches Vault's tokens, as they look since 1.10 and before.
var vaultToken = regexp.MustCompile(`\b(hv[sbr]\.[A-Za-z0-9_-]{16,}|[sbr]\.[A-Za-z0-9]{24})\b`)

// redact is the last fence before a file: what a check saw may quote an
// answer of Vault, and no token may reach a report.
func redact(data []byte) []byte {
	return vaultToken.ReplaceAll(data, []byte("(token redacted)"))
}

// replace writes data to path through a temporary file beside it, so that a
// reader never sees half a file.
func replace(path string, data []byte) (err error) {
	tmp, err := os.CreateTemp(filepath.Dir(path), "."+filepath.Base(path)+".*")
	if err != nil {
		return err
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, os.Remove(tmp.Name()))
		}
	}()
	_, err = tmp.Write(data)
	if err == nil {
		err = tmp.Chmod(0o644)
	}
	if err == nil {
		err = tmp.Sync()
	}
	if err := errors.Join(err, tmp.Close()); err != nil {
		return err
	}
	return os.Rename(tmp.Name(), path)
}

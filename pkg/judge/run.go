// Package judge says whether Vault kept its promises over a whole run, from
// what is stored of it alone: what clients saw (history.ndjson), what pods and
// faults did meanwhile (timeline.ndjson), and what was there at the end
// (final.json). So a judgement can be repeated without a cluster.
package judge

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"

	"github.com/vaultproof/vaultproof/pkg/history"
	"github.com/vaultproof/vaultproof/pkg/timeline"
)

// Run is what is known of a run.
type Run struct {
	// Ops are all operations that clients made.
	Ops []history.Op
	// Final is what was there at the end; nil if nobody could look.
	Final *history.Final
	// Events is the timeline without the operations, in order of time.
	Events []timeline.Event
	// Due is when operations were due to start, in ns since 1970, in order.
	Due []int64
}

// Tell adds what the timeline has to a run that has none yet.
func (r *Run) Tell(events []timeline.Event) {
	for _, e := range events {
		r.take(e)
	}
	r.sort()
}

func (r *Run) take(e timeline.Event) {
	if e.Kind == timeline.Operation {
		r.Due = append(r.Due, e.At.UnixNano())
		return
	}
	r.Events = append(r.Events, e)
}

func (r *Run) sort() {
	slices.Sort(r.Due)
	timeline.Sort(r.Events)
}

// Read reads a run from its directory. A run that ended before its final state
// was read has no Final.
func Read(dir string) (Run, error) {
	var run Run
	var err error
	if run.Ops, err = history.Load(filepath.Join(dir, history.File)); err != nil {
		if errors.Is(err, fs.ErrNotExist) {
			return run, fmt.Errorf("%s holds no %s: give the directory of a run that had load, such as artifacts/latest", dir, history.File)
		}
		return run, err
	}
	if err := run.readTimeline(filepath.Join(dir, timeline.File)); err != nil {
		return run, err
	}
	final, err := history.LoadFinal(filepath.Join(dir, history.FinalFile))
	switch {
	case err == nil:
		run.Final = &final
	case !errors.Is(err, fs.ErrNotExist):
		return run, err
	}
	return run, nil
}

func (r *Run) readTimeline(path string) error {
	file, err := os.Open(path)
	if err != nil {
		return fmt.Errorf("opening the timeline: %w", err)
	}
	defer file.Close()
	if err := timeline.Scan(file, r.take); err != nil {
		return fmt.Errorf("in %s: %w", path, err)
	}
	r.sort()
	return nil
}

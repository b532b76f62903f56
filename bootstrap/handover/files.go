package handover

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"time"
)

// DefaultDone is where the end of a handover is told. The other two files are
// beside it.
const DefaultDone = "/run/handover/done"

// Files are what the two hooks tell each other; see the package's text.
type Files struct {
	Done string // path
}

func (f Files) begun() string    { return filepath.Join(filepath.Dir(f.Done), "begun") }
func (f Files) stopping() string { return filepath.Join(filepath.Dir(f.Done), "stopping") }

// Clear removes what an earlier life of the sidecar's container left behind.
func (f Files) Clear() error {
	var errs []error
	for _, path := range []string{f.begun(), f.Done} {
		if err := os.Remove(path); err != nil && !errors.Is(err, fs.ErrNotExist) {
			errs = append(errs, fmt.Errorf("removing a stale file of the handover: %w", err))
		}
	}
	return errors.Join(errs...)
}

// Begin tells Vault's hook to wait.
func (f Files) Begin() error { return f.touch(f.begun()) }

// End tells Vault's hook that Vault may be stopped.
func (f Files) End() error { return f.touch(f.Done) }

func (f Files) touch(path string) error {
	if err := os.WriteFile(path, nil, 0o644); err != nil {
		return fmt.Errorf("telling Vault's preStop hook (mount a volume that both containers share at %s, or set -handover-done): %w", filepath.Dir(f.Done), err)
	}
	return nil
}

// Stopping waits until Vault's hook tells that Vault is being stopped.
func (f Files) Stopping(ctx context.Context) bool {
	tick := time.NewTicker(pollEvery / 2)
	defer tick.Stop()
	for {
		if _, err := os.Stat(f.stopping()); err == nil {
			return true
		}
		select {
		case <-ctx.Done():
			return false
		case <-tick.C:
		}
	}
}

// PodLog is where a hook's line shows up in the pod's log: the output of the
// container's first process. What the hook itself prints is not part of it.
func PodLog() io.WriteCloser {
	if f, err := os.OpenFile("/proc/1/fd/1", os.O_WRONLY|os.O_APPEND, 0); err == nil {
		return f
	}
	return os.Stdout
}

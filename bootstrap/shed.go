package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/vaultproof/vaultproof/bootstrap/machine"
	"github.com/vaultproof/vaultproof/bootstrap/sidecar"
)

// Shares and tokens leave copies in memory that nobody can wipe: in the buffers
// of gRPC, TLS and JSON, until the garbage collector gives the pages to something
// else. So once the secrets have done their work the process sheds its memory: it
// executes its own binary anew, in place. The container goes on, and what the next
// life must know, which is no secret, is handed over in its environment.

// resumeEnv holds a sidecar.Resume as JSON.
const resumeEnv = "BOOTSTRAP_RESUME"

// errShed ends a life of the process that the next one continues.
var errShed = errors.New("the sidecar sheds its memory")

// skin knows how long ago a secret was last in memory.
type skin struct {
	after time.Duration // of quiet, until memory is shed; 0: never
	used  atomic.Int64  // when a secret was last used, in Unix nanoseconds; 0: not at all
}

func (s *skin) touch() { s.used.Store(time.Now().UnixNano()) }

// due tells whether memory is to be shed now: secrets were used and are no longer
// needed, and Vault serves, so that nobody waits for us.
func (s *skin) due(t machine.Turn, now time.Time) bool {
	used := s.used.Load()
	return s.after > 0 && used != 0 && now.Sub(time.Unix(0, used)) >= s.after &&
		t.Decision.State == machine.Serving && !t.Facts.KeysInHand
}

// resumed reads what an earlier life of this process handed over.
func resumed(env func(string) (string, bool)) (sidecar.Resume, bool, error) {
	raw, ok := env(resumeEnv)
	if !ok {
		return sidecar.Resume{}, false, nil
	}
	var r sidecar.Resume
	if err := json.Unmarshal([]byte(raw), &r); err != nil {
		return r, true, fmt.Errorf("reading %s, which only the sidecar itself sets: %w", resumeEnv, err)
	}
	return r, true, nil
}

// handOn leaves r to the next life of this process.
func handOn(r sidecar.Resume) error {
	raw, err := json.Marshal(r)
	if err == nil {
		err = os.Setenv(resumeEnv, string(raw))
	}
	if err != nil {
		return fmt.Errorf("handing over to the next life of the sidecar: %w", err)
	}
	return nil
}

// shed executes the sidecar anew, in this process. It returns only if that fails.
func shed(ctx context.Context, log *slog.Logger) error {
	if ctx.Err() != nil {
		return nil // told to stop meanwhile
	}
	self, err := os.Executable()
	if err != nil {
		return fmt.Errorf("finding the sidecar's own binary: %w", err)
	}
	log.Info("secrets have done their work; shedding the memory that held them")
	if err := syscall.Exec(self, os.Args, os.Environ()); err != nil {
		return fmt.Errorf("executing the sidecar anew: %w", err)
	}
	return nil
}

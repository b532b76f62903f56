//go:build failpoints

// Package failpoint lets a test build end the sidecar at a named moment, as a
// crash or a stop would. In every other build Hit does nothing.
package failpoint

import (
	"flag"
	"fmt"
	"os"
	"strings"
	"sync"
	"syscall"
)

var (
	at, record string
	file       sync.Mutex
	stopped    sync.Once
)

// Flags adds the flags that choose a moment or list all, in a test build.
func Flags(fs *flag.FlagSet) {
	fs.StringVar(&at, "failpoints", "", "kill the process with SIGKILL at the moment of this name; term:NAME sends it SIGTERM instead, and it goes on")
	fs.StringVar(&record, "failpoints-record", "", "append the name of every moment to this file, one a line")
}

// Hit marks the moment called name, and ends the process if it is the chosen one.
func Hit(name string) {
	if record != "" {
		if err := write(name); err != nil {
			panic(err) // a test without its record proves nothing
		}
	}
	if name == at {
		_ = syscall.Kill(os.Getpid(), syscall.SIGKILL)
		select {}
	}
	if chosen, ok := strings.CutPrefix(at, "term:"); ok && name == chosen {
		stopped.Do(func() { _ = syscall.Kill(os.Getpid(), syscall.SIGTERM) })
	}
}

func write(name string) error {
	file.Lock()
	defer file.Unlock()
	f, err := os.OpenFile(record, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return fmt.Errorf("recording the moment %s: %w", name, err)
	}
	defer f.Close()
	if _, err := f.WriteString(name + "\n"); err != nil {
		return fmt.Errorf("recording the moment %s: %w", name, err)
	}
	return nil
}

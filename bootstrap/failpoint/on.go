//go:build failpoints

// Package failpoint lets a test build kill the sidecar at a named moment, as a
// crash would. In every other build Hit does nothing.
package failpoint

import (
	"flag"
	"os"
	"syscall"
)

var at string

// Flags adds the flag that chooses a moment, in a test build.
func Flags(fs *flag.FlagSet) {
	fs.StringVar(&at, "failpoints", "", "kill the process with SIGKILL at the moment of this name")
}

// Hit marks the moment called name, and ends the process if it is the chosen one.
func Hit(name string) {
	if name == at {
		_ = syscall.Kill(os.Getpid(), syscall.SIGKILL)
		select {}
	}
}

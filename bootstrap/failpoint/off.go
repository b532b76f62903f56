//go:build !failpoints

// Package failpoint lets a test build end the sidecar at a named moment, as a
// crash or a stop would. In every other build Hit does nothing.
package failpoint

import "flag"

// Flags adds the flags that choose a moment or list all, in a test build.
func Flags(*flag.FlagSet) {}

// Hit marks the moment called name.
func Hit(string) {}

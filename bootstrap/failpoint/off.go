//go:build !failpoints

// Package failpoint lets a test build kill the sidecar at a named moment, as a
// crash would. In every other build Hit does nothing.
package failpoint

import "flag"

// Flags adds the flag that chooses a moment, in a test build.
func Flags(*flag.FlagSet) {}

// Hit marks the moment called name.
func Hit(string) {}

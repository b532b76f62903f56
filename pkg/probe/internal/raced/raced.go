// Package raced tells tests whether the race detector watches them. Go 1.26's own runtime of
// it crashes (SIGSEGV in its StackDepot) when a load that keeps many goroutines runs in a
// bubble of testing/synctest; such tests are left to a run without it.
package raced

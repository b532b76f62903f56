//go:build !race

package raced

// Detector tells whether the race detector is built in.
const Detector = false

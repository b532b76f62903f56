// Package alert judges alert rules by what a Vault really exports.
//
// A Recorder scrapes the sidecars and the active Vault as Prometheus would and
// writes the samples that the rules look at to a file of the run. Replay feeds a
// recording, or made-up series, to Prometheus' own query engine, and tells which
// alerts would have fired, and when.
package alert

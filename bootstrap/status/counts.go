package status

import (
	"maps"
	"time"
)

// SetLabels shows what the fence holds to be right, and its trouble, if any.
func (b *Board) SetLabels(desired map[string]string, lastError string) {
	b.mu.Lock()
	defer b.mu.Unlock()
	l := b.keepLabels()
	l.Desired, l.LastError = maps.Clone(desired), lastError
}

// LabelsPending shows the labels that Vault wants for its pod and the API server
// does not have yet; since is of the oldest.
func (b *Board) LabelsPending(pending map[string]string, since time.Time) {
	b.mu.Lock()
	defer b.mu.Unlock()
	l := b.keepLabels()
	l.Pending, l.PendingSince = maps.Clone(pending), since.UTC()
}

// Pending tells whether the API server still lacks a label that Vault wants.
func (b *Board) Pending() bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.labels != nil && len(b.labels.Pending) > 0
}

// LabelRepaired counts one label of a pod that was put right.
func (b *Board) LabelRepaired(pod string) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.keepLabels().Repaired[pod]++
	b.metrics.labelRepairs.WithLabelValues(pod).Inc()
}

// LabelFailed counts one failed call of the fence to the API server; kind is of
// kube.Kind.
func (b *Board) LabelFailed(kind string) { b.metrics.labelErrors.WithLabelValues(kind).Inc() }

// CustodyFailed counts one failed step with custody; kind is of keys.Kind.
func (b *Board) CustodyFailed(kind string) { b.metrics.custodyErrors.WithLabelValues(kind).Inc() }

// TokensLast shows until when each live token in custody is valid, unless it is
// renewed, by the name of its role, as provisioner. None are known beside a Vault
// that is not active.
func (b *Board) TokensLast(until map[string]time.Time) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.expiries = maps.Clone(until)
}

// SetSnapshot shows how the last attempt to take a snapshot went, and counts it
// if it failed.
func (b *Board) SetSnapshot(s Snapshot) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.snapshot != nil && s.Name == "" { // of an earlier time as the active one
		s.Name, s.At, s.SizeBytes = b.snapshot.Name, b.snapshot.At, b.snapshot.SizeBytes
	}
	b.snapshot = &s
	if s.LastError != "" {
		b.metrics.snapshotFailures.Inc()
	}
}

// beside is what is true of snapshots beside a Vault in that role.
func (s *Snapshot) beside(role string) *Snapshot {
	if s == nil {
		return nil
	}
	shown := *s
	if role != "active" {
		shown.LastError, shown.Next = "", time.Time{}
	}
	return &shown
}

func (b *Board) keepLabels() *Labels {
	if b.labels == nil {
		b.labels = &Labels{Repaired: map[string]int{}}
	}
	return b.labels
}

func (l *Labels) copy() *Labels {
	if l == nil {
		return nil
	}
	return &Labels{Desired: maps.Clone(l.Desired), Repaired: maps.Clone(l.Repaired), LastError: l.LastError,
		Pending: maps.Clone(l.Pending), PendingSince: l.PendingSince}
}

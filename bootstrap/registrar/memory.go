package registrar

import (
	"context"
	"maps"
	"sync"
	"time"

	"github.com/vaultproof/vaultproof/bootstrap/vault"
)

// The labels that Vault's service registration keeps.
const (
	Active      = "vault-active"
	Sealed      = "vault-sealed"
	Initialised = "vault-initialized"
	PerfStandby = "vault-perf-standby"
	Version     = "vault-version"
)

// flushFor is how long a stop waits for the last labels to be carried, once
// Vault has nothing more to say.
const flushFor = 2 * time.Second

// Said is what Vault's registration said, as of one moment.
type Said struct {
	Labels map[string]string
	Seq    uint64    // grows with everything that Vault says
	At     time.Time // of the last word about vault-active
}

// On tells whether Vault announced that it becomes active.
func (s Said) On() bool { return s.Labels[Active] == "true" }

// Off tells whether Vault said that it is not active.
func (s Said) Off() bool { return s.Labels[Active] == "false" }

// Memory holds the labels that Vault wants for its pod. Of each label the last
// value counts. All methods may be called from any goroutine, and none blocks
// but Drain. A nil Memory is one that Vault never speaks to.
type Memory struct {
	mu      sync.Mutex
	said    Said
	carried uint64 // the API server has all that was said up to here
	news    chan struct{}
	changed chan struct{} // closed and replaced with each change of anything
}

// NewMemory makes one that has heard nothing yet.
func NewMemory() *Memory {
	return &Memory{said: Said{Labels: map[string]string{}}, news: make(chan struct{}, 1), changed: make(chan struct{})}
}

// Said gives the labels as they are now.
func (m *Memory) Said() Said {
	if m == nil {
		return Said{}
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	s := m.said
	s.Labels = maps.Clone(s.Labels)
	return s
}

// News is sent to after Vault said something. It is nil for a nil Memory.
func (m *Memory) News() <-chan struct{} {
	if m == nil {
		return nil
	}
	return m.news
}

// Announce takes labels that Vault sets.
func (m *Memory) Announce(labels map[string]string) {
	m.mu.Lock()
	defer m.mu.Unlock()
	maps.Copy(m.said.Labels, labels)
	m.said.Seq++
	if _, ok := labels[Active]; ok {
		m.said.At = time.Now()
	}
	m.change()
	select {
	case m.news <- struct{}{}:
	default: // whoever listens will see this too
	}
}

// Learn takes what Vault's own health tells, provided that Vault has said
// nothing since seq: what it was asked before that may be out of date. The label
// vault-active is not learnt, it takes more evidence.
func (m *Memory) Learn(seq uint64, h vault.Health) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.said.Seq != seq {
		return
	}
	maps.Copy(m.said.Labels, map[string]string{
		Sealed: word(h.Sealed), Initialised: word(h.Initialised), PerfStandby: word(h.PerfStandby), Version: sanitize(h.Version)})
	m.change()
}

// Carried tells that the API server has everything that was said up to seq.
func (m *Memory) Carried(seq uint64) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if seq > m.carried {
		m.carried = seq
		m.change()
	}
}

func (m *Memory) change() {
	close(m.changed)
	m.changed = make(chan struct{})
}

// Drain waits until a Vault that is being stopped has said its last word, which
// is that it is sealed, and until that is carried or two seconds have passed;
// at most until ctx ends.
func (m *Memory) Drain(ctx context.Context) {
	m.wait(ctx, func() bool { return m.said.Labels[Sealed] != "false" })
	ctx, cancel := context.WithTimeout(ctx, flushFor)
	defer cancel()
	m.wait(ctx, func() bool { return m.carried >= m.said.Seq })
}

// wait waits until ok, which is called with the lock.
func (m *Memory) wait(ctx context.Context, ok func() bool) {
	for {
		m.mu.Lock()
		done, changed := ok(), m.changed
		m.mu.Unlock()
		if done {
			return
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return
		}
	}
}

func word(b bool) string {
	if b {
		return "true"
	}
	return "false"
}

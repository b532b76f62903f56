package registrar

import (
	"context"
	"testing"
	"testing/synctest"
	"time"

	"github.com/vaultproof/vaultproof/bootstrap/vault"
)

func TestLastValueCounts(t *testing.T) {
	m := NewMemory()
	m.Announce(map[string]string{Active: "true"})
	m.Announce(map[string]string{Sealed: "false"})
	m.Announce(map[string]string{Active: "false"})
	s := m.Said()
	if s.On() || !s.Off() || s.Seq != 3 || s.Labels[Sealed] != "false" {
		t.Errorf("%+v", s)
	}
	select {
	case <-m.News():
	default:
		t.Error("nobody was told")
	}
	s.Labels[Sealed] = "scribbled"
	if m.Said().Labels[Sealed] != "false" {
		t.Error("a copy was changed, and the memory with it")
	}
}

// What Vault said while it was being asked is newer than its answer.
func TestLearn(t *testing.T) {
	m := NewMemory()
	m.Learn(0, vault.Health{Initialised: true, Sealed: true, Active: true, Version: "1.21.1+ent"})
	s := m.Said()
	if s.Labels[Sealed] != "true" || s.Labels[Initialised] != "true" || s.Labels[PerfStandby] != "false" || s.Labels[Version] != "1.21.1-ent" {
		t.Errorf("%+v", s)
	}
	if s.On() || s.Off() || s.Seq != 0 {
		t.Errorf("%+v; health alone says nothing of vault-active, and is nothing that Vault announced", s)
	}
	m.Announce(map[string]string{Sealed: "false"})
	m.Learn(0, vault.Health{Sealed: true})
	if m.Said().Labels[Sealed] != "false" {
		t.Error("an old answer replaced what Vault said since")
	}
}

func TestNilMemory(t *testing.T) {
	var m *Memory
	if s := m.Said(); s.On() || s.Off() || s.Seq != 0 || m.News() != nil {
		t.Errorf("%+v", s)
	}
}

func TestDrain(t *testing.T) {
	for name, tt := range map[string]struct {
		given map[string]string
		then  func(m *Memory)
		want  time.Duration
	}{
		"nothing is known":   {nil, func(*Memory) {}, 0},
		"sealed and carried": {map[string]string{Sealed: "true"}, func(*Memory) {}, 0},
		"until sealed, then carried": {map[string]string{Sealed: "false"}, func(m *Memory) {
			m.Announce(map[string]string{Sealed: "true"})
			time.Sleep(300 * time.Millisecond)
			m.Carried(2)
		}, 1300 * time.Millisecond},
		"sealed, not carried": {map[string]string{Sealed: "false"}, func(m *Memory) { m.Announce(map[string]string{Sealed: "true"}) }, time.Second + flushFor},
		"never sealed":        {map[string]string{Sealed: "false"}, func(*Memory) {}, 10 * time.Second},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				m := NewMemory()
				if tt.given != nil {
					m.Announce(tt.given)
					m.Carried(1)
				}
				began := time.Now()
				go func() { time.Sleep(time.Second); tt.then(m) }()
				ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
				defer cancel()
				m.Drain(ctx)
				if got := time.Since(began); got != tt.want {
					t.Errorf("waited %s; want %s", got, tt.want)
				}
				time.Sleep(3 * time.Second)
			})
		})
	}
}

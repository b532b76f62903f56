package sample

import (
	"strings"
	"testing"

	"github.com/vaultproof/vaultproof/pkg/probe/internal/wire"
)

func TestRaftIsFollowed(t *testing.T) {
	b := newBench(t)
	b.server.Raft("one", 100, 3)
	b.await(wire.Cluster, "one")
	b.await(wire.Index, "100")
	b.await(wire.Term, "3")
	b.server.Raft("another", 99, 4)
	b.await(wire.Index, "99") // at once, as it went back
	b.await(wire.Cluster, "another")
	b.await(wire.Term, "4")
	b.server.Become(false, false, "")
	b.await(wire.Leader, Standby)
	b.server.Raft("another", 99, 5) // of which a standby knows by hearsay
	b.server.Become(false, true, "")
	b.await(wire.Seal, Sealed)
	if s := b.last(wire.Term); s.Value != "4" {
		t.Errorf("a pod that is not active told the term %s", s.Value)
	}
}

func TestAnIndexThatGrowsIsToldOnceInAWhile(t *testing.T) {
	var got []string
	s := &Sampler{index: map[string]reached{}, emit: func(s wire.Sample) { got = append(got, s.Value) }}
	second := int64(wire.IndexEvery)
	for _, told := range []struct {
		at    int64
		index uint64
	}{{second, 10}, {second + 1, 11}, {2*second - 1, 20}, {2 * second, 21}, {2*second + 1, 22}, {2*second + 2, 19}, {2*second + 3, 20}} {
		s.reach(told.at, "vault-0", told.index)
	}
	if want := "10 21 22 19"; strings.Join(got, " ") != want {
		t.Errorf("told %v, want %s", got, want)
	}
}

package sample

import (
	"context"
	"encoding/json"
	"net/http"
	"strconv"

	"github.com/vaultproof/vaultproof/pkg/probe/internal/wire"
)

// reached is the raft index that a pod told of last.
type reached struct {
	index uint64
	at    int64 // when the pod said so
	told  int64 // when one was reported last
}

// reach takes note of an index that a pod has applied, and reports it if none was reported
// for a while, or if it went back: then with the one before, which may not have been. The
// caller holds s.mu.
func (s *Sampler) reach(at int64, pod string, index uint64) {
	last := s.index[pod]
	now := reached{index, at, last.told}
	tell := func(index uint64, at int64) {
		s.emit(wire.Sample{At: at, Pod: pod, Kind: wire.Index, Value: strconv.FormatUint(index, 10)})
	}
	if index < last.index && last.at != last.told {
		tell(last.index, last.at)
	}
	if index < last.index || at-last.told >= int64(wire.IndexEvery) {
		now.told = at
		tell(index, at)
	}
	s.index[pod] = now
}

// askTerm asks a pod that says that it is active for its raft term. A standby would
// pass the question on. Where the token may not ask, nothing is known of terms.
func (s *Sampler) askTerm(ctx context.Context, client *http.Client, pod string, q question) {
	s.mu.Lock()
	active := s.states[pod][wire.Leader].value == Active
	s.mu.Unlock()
	if !active || s.cfg.Token == "" {
		return
	}
	status, body, err := s.get(ctx, client, pod, q)
	at := s.clock.Now()
	if err != nil || status != http.StatusOK {
		return // that it does not answer is seen by the other questions
	}
	var got struct {
		Data struct {
			Leader  string `json:"leader"`
			Servers map[string]struct {
				Term uint64 `json:"last_term"`
			} `json:"servers"`
		} `json:"data"`
	}
	if json.Unmarshal(body, &got) != nil {
		return
	}
	// The leader is the pod itself. What it says of others may be old.
	own := got.Data.Servers[got.Data.Leader]
	if own.Term == 0 {
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if ctx.Err() == nil {
		s.set(at, pod, wire.Term, state{value: strconv.FormatUint(own.Term, 10)})
	}
}

package judge

import (
	"fmt"
	"iter"
	"math/rand/v2"
	"time"

	"github.com/vaultproof/vaultproof/pkg/history"
	"github.com/vaultproof/vaultproof/pkg/timeline"
)

// begin is when scripted runs begin, in ns since 1970.
const begin = int64(1_800_000_000_000_000_000)

// script makes up what clients of a Vault without faults see. It keeps no
// operation, so that a million of them take no memory.
type script struct {
	rate  float64
	count int
	rng   *rand.Rand
	final history.Final
	// busy is until when a key is being written.
	busy map[string]int64
}

func newScript(rate float64, count int) *script {
	return &script{rate: rate, count: count, rng: rand.New(rand.NewPCG(1, 1)), busy: map[string]int64{}, final: history.Final{
		Rate: rate, Registers: map[string]history.State{}, Journals: map[string][]string{},
	}}
}

// operations gives the operations in the order in which they took place, which is
// that of their numbers. Seven in ten are of registers.
func (s *script) operations() iter.Seq[history.Op] {
	return func(yield func(history.Op) bool) {
		interval := int64(float64(time.Second) / s.rate)
		for i := range s.count {
			at := begin + int64(i)*interval
			// Some overlap, as they do when a thousand start in a second.
			op := history.Op{Client: i, Call: at - s.rng.Int64N(2*interval), Return: at + s.rng.Int64N(2*interval), Outcome: history.OK, Pod: "vault-0"}
			s.play(i, &op)
			if !yield(op) {
				return
			}
		}
	}
}

func (s *script) play(i int, op *history.Op) {
	switch i % 10 {
	case 0:
		op.Kind, op.Key, op.Value = history.Append, fmt.Sprintf("journal-%d", i/10_000), fmt.Sprintf("e%d", i)
		s.final.Journals[op.Key] = append(s.final.Journals[op.Key], op.Value)
	case 1:
		op.Kind, op.Key, op.Want, op.Value = history.Decrypt, "load", "d1", "d1"
	case 2:
		s.playGrant(i, op)
	default:
		s.playRegister(i, op)
	}
}

// playGrant issues a token, uses it twice and revokes it.
func (s *script) playGrant(i int, op *history.Op) {
	op.Key = fmt.Sprintf("token-%d", i/40)
	switch i / 10 % 4 {
	case 0:
		op.Kind, op.Expires = history.Issue, op.Call+int64(time.Hour)
	case 3:
		op.Kind = history.Revoke
	default:
		op.Kind = history.Use
	}
}

// playRegister reads, or writes if nobody else does. One write in a hundred has no
// answer: half of those took place.
func (s *script) playRegister(i int, op *history.Op) {
	op.Key = fmt.Sprintf("k%04d", s.rng.IntN(400))
	state := s.final.Registers[op.Key]
	if i%2 == 0 || op.Call <= s.busy[op.Key] {
		op.Kind, op.Value, op.Version = history.Read, state.Value, state.Version
		return
	}
	op.Kind, op.Value, op.CAS = history.Write, fmt.Sprintf("v%d", i), state.Version
	s.busy[op.Key] = op.Return
	fate := s.rng.IntN(200)
	if fate < 2 {
		op.Outcome = history.Unknown
	} else {
		op.Version = state.Version + 1
	}
	if fate != 0 {
		s.final.Registers[op.Key] = history.State{Version: state.Version + 1, Value: op.Value}
	}
}

// operation is what the timeline has of an operation.
func operation(op history.Op) timeline.Event {
	return timeline.Event{
		At: time.Unix(0, op.Call), Kind: timeline.Operation, Subject: string(op.Kind), Value: op.Pod,
		OK: op.Outcome == history.OK, LatencyMS: float64(op.Return-op.Call) / 1e6,
	}
}

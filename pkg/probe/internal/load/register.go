package load

import (
	"context"
	"fmt"

	"github.com/vaultproof/vaultproof/pkg/history"
)

// registers are keys that are read, and written if they are at a version that is
// known.
type registers struct {
	*stream
	keys  []*register
	turn  int     // the key whose turn it is to be written
	share float64 // of writes
	count int     // arrivals so far
}

// register is one key. Each has a single writer at a time, so that a refused
// version always means that something else went wrong.
type register struct {
	name    string
	writing chan struct{} // holds one token while nobody writes
	version int           // the last one known
	doubt   bool          // a write is without answer: read before the next
}

func newRegisters(s *stream) *registers {
	r := &registers{stream: s, share: s.load.cfg.WriteShare}
	for i := range s.keyCount() {
		k := &register{name: s.key(fmt.Sprintf("k%04d", i)), writing: make(chan struct{}, 1)}
		k.writing <- struct{}{}
		r.keys = append(r.keys, k)
	}
	return r
}

// keyCount is how many there are: as many as may wait for an answer at a time, unless
// the main stream is told otherwise.
func (s *stream) keyCount() int {
	if s.cfg.Route == "" {
		return s.load.cfg.Keys
	}
	return s.cfg.MaxInFlight
}

func (r *registers) next() task {
	// Spread evenly: a write whenever the share of one more arrival exceeds that
	// of those so far by a whole one.
	r.count++
	if int(float64(r.count)*r.share) == int(float64(r.count-1)*r.share) {
		k := r.keys[r.rng.IntN(len(r.keys))]
		return task{op: history.Op{Kind: history.Read, Key: k.name}, do: func(ctx context.Context, t turn) history.Outcome {
			r.read(ctx, t, k, false)
			return history.OK // a read is never in doubt
		}}
	}
	op := history.Op{Kind: history.Write, Value: r.load.value()}
	k := r.claim()
	if k == nil {
		op.Key = r.keys[r.turn].name
		return task{op: op, busy: "every key waits for the answer to a write"}
	}
	op.Key = k.name
	release := func() { k.writing <- struct{}{} }
	return task{op: op, drop: release, do: func(ctx context.Context, t turn) history.Outcome {
		defer release()
		return r.write(ctx, t, k, op)
	}}
}

// claim takes the next key that nobody writes; nil when there is none.
func (r *registers) claim() *register {
	for range r.keys {
		k := r.keys[r.turn]
		r.turn = (r.turn + 1) % len(r.keys)
		select {
		case <-k.writing:
			return k
		default:
		}
	}
	return nil
}

// write writes to k, which the caller has claimed.
func (r *registers) write(ctx context.Context, t turn, k *register, op history.Op) history.Outcome {
	if k.doubt {
		state := r.read(ctx, t, k, true)
		if state.outcome != history.OK {
			op = t.begin(op)
			op.Outcome, op.Pod, op.Error = history.Fail, state.pod, "reading before the write: "+state.err
			t.end(op, false)
			return history.Fail
		}
		k.version, k.doubt = state.version, false
	}
	op.CAS = k.version
	op = t.begin(op)
	got := r.client.write(ctx, k.name, op.Value, k.version)
	got.into(&op)
	switch {
	case got.outcome == history.OK:
		k.version = got.version
	case got.outcome == history.Unknown || got.mismatch:
		k.doubt = true
	}
	t.end(op, false)
	return op.Outcome
}

// read reads k and records it; aux marks a read outside the schedule.
func (r *registers) read(ctx context.Context, t turn, k *register, aux bool) reply {
	op := t.begin(history.Op{Kind: history.Read, Key: k.name})
	got := r.client.read(ctx, k.name)
	got.into(&op)
	op.Value = got.value
	t.end(op, aux)
	return got
}

// final reads the keys on the way that clients take, if there is one: what was
// written past the Service is there as well.
func (r *registers) final(ctx context.Context, final *history.Final) error {
	way := r.load.streams[0].client
	for _, k := range r.keys {
		err := r.load.insist(ctx, k.name, func(ctx context.Context) reply {
			got := way.read(ctx, k.name)
			if got.outcome == history.OK && got.version > 0 {
				final.Registers[k.name] = history.State{Version: got.version, Value: got.value}
			}
			return got
		})
		if err != nil {
			return err
		}
	}
	return nil
}

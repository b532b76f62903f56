// Package load sends operations to Vault on a fixed schedule that does not
// wait for answers (an open loop): when Vault stalls, operations keep
// arriving, and each counts its latency from when it was due. A client that
// waits before it sends the next one would leave out just the operations that
// an outage hurts.
package load

import (
	"context"
	"fmt"
	"math/rand/v2"
	"sync"
	"time"

	"github.com/vaultproof/vaultproof/pkg/history"
	"github.com/vaultproof/vaultproof/pkg/probe/internal/wire"
)

// Load is a schedule and the clients that keep it.
type Load struct {
	cfg    wire.Config
	client *client
	clock  wire.Ticker
	emit   func(wire.Record)
	rng    *rand.Rand // the scheduler's alone
	keys   []*key
	turn   int // the key whose turn it is to be written

	slots    chan int // client numbers that are free
	mu       sync.Mutex
	clients  int
	sequence int64
	unique   string
}

// key is one register. Each has a single writer at a time, so that a refused
// version always means that something else went wrong.
type key struct {
	name    string
	writing chan struct{} // holds one token while nobody writes
	version int           // the last one known
	doubt   bool          // a write is without answer: read before the next
}

// New prepares a load; emit gets each operation when it ends and may be called
// from many goroutines.
func New(cfg wire.Config, clock wire.Ticker, emit func(wire.Record)) (*Load, error) {
	c, err := newClient(cfg)
	if err != nil {
		return nil, err
	}
	l := &Load{
		cfg: cfg, client: c, clock: clock, emit: emit,
		rng:    rand.New(rand.NewPCG(cfg.Seed, 0x7661756c74)),
		slots:  make(chan int, cfg.MaxInFlight),
		unique: fmt.Sprintf("%x", clock.Now()),
	}
	for i := range cfg.MaxInFlight {
		l.slots <- i
	}
	l.clients = cfg.MaxInFlight
	for i := range cfg.Keys {
		k := &key{name: fmt.Sprintf("k%04d", i), writing: make(chan struct{}, 1)}
		k.writing <- struct{}{}
		l.keys = append(l.keys, k)
	}
	return l, nil
}

// Run keeps the schedule until ctx is done, then waits for the operations in
// flight, which takes at most their timeout. Arrivals that the process was
// too slow for are sent at once, late, and their latency shows it.
func (l *Load) Run(ctx context.Context) {
	if l.cfg.Rate <= 0 {
		<-ctx.Done()
		return
	}
	var inFlight sync.WaitGroup
	defer inFlight.Wait()
	defer l.client.pool.CloseIdleConnections()
	interval := float64(time.Second) / l.cfg.Rate
	start := time.Now()
	timer := time.NewTimer(0)
	defer timer.Stop()
	for i := 0; ; i++ {
		due := start.Add(time.Duration(float64(i) * interval))
		if wait := time.Until(due); wait > 0 {
			timer.Reset(wait)
			select {
			case <-timer.C:
			case <-ctx.Done():
				return
			}
		} else if ctx.Err() != nil {
			return
		}
		// Spread evenly: a write whenever the share of i+1 arrivals exceeds
		// that of i by a whole one.
		isWrite := int(float64(i+1)*l.cfg.WriteShare) > int(float64(i)*l.cfg.WriteShare)
		l.arrive(context.WithoutCancel(ctx), due, isWrite, &inFlight)
	}
}

// arrive starts one operation, or records that it could not be started. ctx
// outlives the schedule: operations in flight at its end get their answers.
func (l *Load) arrive(ctx context.Context, due time.Time, isWrite bool, inFlight *sync.WaitGroup) {
	kind, k := history.Read, l.keys[l.rng.IntN(len(l.keys))]
	if isWrite {
		kind, k = history.Write, l.claim()
		if k == nil {
			l.overload(due, kind, l.keys[l.turn].name, "overload: every key waits for the answer to a write")
			return
		}
	}
	select {
	case slot := <-l.slots:
		inFlight.Go(func() {
			ctx, cancel := context.WithDeadline(ctx, due.Add(l.cfg.Timeout))
			defer cancel()
			outcome := history.OK
			if isWrite {
				outcome = l.write(ctx, due, slot, k)
				k.writing <- struct{}{}
			} else {
				l.read(ctx, due, slot, k, false)
			}
			l.slots <- l.successor(slot, outcome)
		})
	default:
		if isWrite {
			k.writing <- struct{}{}
		}
		l.overload(due, kind, k.name, fmt.Sprintf("overload: %d operations in flight", l.cfg.MaxInFlight))
	}
}

// claim takes the next key that nobody writes; nil when there is none.
func (l *Load) claim() *key {
	for range l.keys {
		k := l.keys[l.turn]
		l.turn = (l.turn + 1) % len(l.keys)
		select {
		case <-k.writing:
			return k
		default:
		}
	}
	return nil
}

// successor is the client number that takes over a slot. A client that never
// got its answer counts as busy for ever, so a new one takes its place.
func (l *Load) successor(slot int, outcome history.Outcome) int {
	if outcome != history.Unknown {
		return slot
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.clients++
	return l.clients - 1
}

// write writes a value of its own to k, which the caller has claimed.
func (l *Load) write(ctx context.Context, due time.Time, slot int, k *key) history.Outcome {
	op := history.Op{Client: slot, Kind: history.Write, Key: k.name, Value: l.value()}
	if k.doubt {
		state := l.read(ctx, due, slot, k, true)
		if state.outcome != history.OK {
			op.Outcome, op.Pod, op.Error = history.Fail, state.pod, "reading before the write: "+state.err
			op.Call = l.clock.Now()
			op.Return = op.Call
			l.emit(wire.Record{Due: l.clock.At(due), Op: op})
			return history.Fail
		}
		k.version, k.doubt = state.version, false
	}
	op.CAS, op.Call = k.version, l.clock.Now()
	r := l.client.write(ctx, k.name, op.Value, k.version)
	op.Return = l.clock.Now()
	op.Outcome, op.Version, op.Pod, op.Error = r.outcome, r.version, r.pod, r.err
	switch {
	case r.outcome == history.OK:
		k.version = r.version
	case r.outcome == history.Unknown || r.mismatch:
		k.doubt = true
	}
	l.emit(wire.Record{Due: l.clock.At(due), Op: op})
	return op.Outcome
}

// read reads k and records it; aux marks a read outside the schedule.
func (l *Load) read(ctx context.Context, due time.Time, slot int, k *key, aux bool) reply {
	op := history.Op{Client: slot, Kind: history.Read, Key: k.name, Call: l.clock.Now()}
	r := l.client.read(ctx, k.name)
	if r.outcome == history.Unknown {
		r.outcome = history.Fail // a read without answer has no effect
	}
	op.Return = l.clock.Now()
	op.Outcome, op.Version, op.Value, op.Pod, op.Error = r.outcome, r.version, r.value, r.pod, r.err
	l.emit(wire.Record{Due: l.clock.At(due), Aux: aux, Op: op})
	return r
}

func (l *Load) overload(due time.Time, kind history.Kind, key, text string) {
	at := l.clock.Now()
	op := history.Op{Client: -1, Kind: kind, Key: key, Call: at, Return: at, Outcome: history.Fail, Error: text}
	if kind == history.Write {
		op.Value = l.value()
	}
	l.emit(wire.Record{Due: l.clock.At(due), Op: op})
}

// value is a value that no other write has.
func (l *Load) value() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.sequence++
	return fmt.Sprintf("%s-%d", l.unique, l.sequence)
}

// Final reads every key, again and again until it answers or ctx is done. It
// is asked when the load has ended and the cluster has healed. On error the
// map holds what could be read.
func (l *Load) Final(ctx context.Context) (map[string]history.State, error) {
	final := make(map[string]history.State, len(l.keys))
	retry := time.NewTicker(200 * time.Millisecond)
	defer retry.Stop()
	for _, k := range l.keys {
		for {
			attempt, cancel := context.WithTimeout(ctx, l.cfg.Timeout)
			r := l.client.read(attempt, k.name)
			cancel()
			if r.outcome == history.OK {
				if r.version > 0 {
					final[k.name] = history.State{Version: r.version, Value: r.value}
				}
				break
			}
			select {
			case <-retry.C:
			case <-ctx.Done():
				return final, fmt.Errorf("reading %s at the end: %s (%d of %d keys were read)", k.name, r.err, len(final), len(l.keys))
			}
		}
	}
	return final, nil
}

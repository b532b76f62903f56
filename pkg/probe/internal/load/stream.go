package load

import (
	"context"
	"fmt"
	"math/rand/v2"
	"path"
	"sync"
	"time"

	"github.com/vaultproof/vaultproof/pkg/history"
	"github.com/vaultproof/vaultproof/pkg/probe/internal/wire"
)

// stream keeps one schedule.
type stream struct {
	load   *Load
	cfg    wire.Stream
	client *client
	actor  actor
	slots  chan int    // client numbers that are free
	work   chan func() // to a goroutine that has nothing to do
	rng    *rand.Rand  // the scheduler's alone
}

// actor makes the operations of one kind.
type actor interface {
	// next is the operation whose turn it is. The scheduler alone calls it.
	next() task
	// final asks once more for what the operations left.
	final(ctx context.Context, final *history.Final) error
}

// task is an operation that is due.
type task struct {
	// op holds what is known of it before it starts: kind, key, and value.
	op history.Op
	// busy says why it cannot start; empty if it can.
	busy string
	// do carries it out, and records it.
	do func(ctx context.Context, t turn) history.Outcome
	// drop gives back what the task holds, in place of do; may be nil.
	drop func()
}

func (l *Load) newStream(cfg wire.Stream, rng *rand.Rand) (*stream, error) {
	c, err := newClient(l.cfg, cfg)
	if err != nil {
		return nil, err
	}
	if cfg.Pod != "" {
		c.pool.DialContext = l.dialPod(cfg.Pod, c.pool.DialContext)
	}
	s := &stream{load: l, cfg: cfg, client: c, slots: make(chan int, cfg.MaxInFlight), work: make(chan func()), rng: rng}
	first := l.claimClients(cfg.MaxInFlight)
	for i := range cfg.MaxInFlight {
		s.slots <- first + i
	}
	switch cfg.Kind {
	case wire.Register:
		s.actor = newRegisters(s)
	case wire.Journal:
		s.actor = newJournals(s)
	case wire.Transit:
		s.actor = newTransit(s)
	case wire.Token:
		s.actor = newGrants(s, tokens{c})
	case wire.Lease:
		s.actor = newGrants(s, leases{c})
	case wire.Login:
		s.actor = newLogins(s)
	default:
		return nil, fmt.Errorf("%q is no kind of operation", cfg.Kind)
	}
	return s, nil
}

// key is the name of a key of this stream: no other stream has it.
func (s *stream) key(name string) string { return path.Join(s.load.cfg.Name, s.cfg.Route, name) }

// run keeps the schedule until ctx is done and the last answers have come.
func (s *stream) run(ctx context.Context) {
	var workers sync.WaitGroup
	defer s.client.pool.CloseIdleConnections()
	defer workers.Wait()
	defer close(s.work)
	interval := float64(time.Second) / s.cfg.Rate
	start := time.Now()
	timer := time.NewTimer(0)
	defer timer.Stop()
	// Operations in flight at the end of the schedule get their answers.
	lasting := context.WithoutCancel(ctx)
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
		s.arrive(lasting, due, &workers)
	}
}

// arrive starts one operation, or records that it could not be started.
func (s *stream) arrive(ctx context.Context, due time.Time, workers *sync.WaitGroup) {
	next := s.actor.next()
	if next.busy != "" {
		s.overload(due, next.op, next.busy)
		return
	}
	select {
	case slot := <-s.slots:
		s.start(workers, func() {
			ctx, cancel := context.WithDeadline(ctx, due.Add(s.load.cfg.Timeout))
			defer cancel()
			outcome := next.do(ctx, turn{s, due, slot})
			s.slots <- s.successor(slot, outcome)
		})
	default:
		if next.drop != nil {
			next.drop()
		}
		s.overload(due, next.op, fmt.Sprintf("%d operations in flight", s.cfg.MaxInFlight))
	}
}

// start runs f aside, by a goroutine that is idle if there is one: the stack of a new
// one grows with every operation anew, which is a tenth of what one costs.
func (s *stream) start(workers *sync.WaitGroup, f func()) {
	select {
	case s.work <- f:
	default:
		workers.Go(func() {
			f()
			for f := range s.work {
				f()
			}
		})
	}
}

// successor is the client number that takes over a slot. A client that never
// got its answer counts as busy for ever, so a new one takes its place.
func (s *stream) successor(slot int, outcome history.Outcome) int {
	if outcome != history.Unknown {
		return slot
	}
	return s.load.claimClients(1)
}

// overload records an operation that could not be started.
func (s *stream) overload(due time.Time, op history.Op, why string) {
	never := turn{s, due, -1}
	op = never.begin(op)
	op.Outcome, op.Error = history.Fail, "overload: "+why
	never.end(op, false)
}

// turn is when and by whom an operation is carried out.
type turn struct {
	stream *stream
	due    time.Time
	client int
}

// begin notes when an operation is sent, and by whom.
func (t turn) begin(op history.Op) history.Op {
	op.Client, op.Call = t.client, t.stream.load.clock.Now()
	return op
}

// end notes when it ended and records it; aux marks one outside the schedule.
func (t turn) end(op history.Op, aux bool) {
	op.Return = t.stream.load.clock.Now()
	t.stream.load.emit(wire.Record{Due: t.stream.load.clock.At(t.due), Aux: aux, Route: t.stream.cfg.Route, Op: op})
}

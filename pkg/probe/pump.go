package probe

import (
	"context"
	"fmt"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"github.com/vaultproof/vaultproof/pkg/history"
	"github.com/vaultproof/vaultproof/pkg/probe/internal/wire"
	"github.com/vaultproof/vaultproof/pkg/timeline"
)

// outOfReach is how long the prober may be silent before that is a problem.
const outOfReach = 10 * time.Second

// drainPatience bounds the wait for the last records, in case the prober dies
// just then.
const drainPatience = 30 * time.Second

// clock translates the prober's time to the suite's.
type clock struct {
	base        time.Time     // an instant of the suite's clock, monotonic reading included
	remote      int64         // the same instant of the prober's clock, in ns
	uncertainty time.Duration // how far they may be apart
}

// at translates; the result has a monotonic reading, like time.Now.
func (c clock) at(remote int64) time.Time {
	return c.base.Add(time.Duration(remote - c.remote))
}

// synchronise compares the clocks. The question with the quickest answer wins:
// the prober read its clock somewhere between question and answer.
func synchronise(ctx context.Context, l *link) (clock, error) {
	var best clock
	for i := range 15 {
		var remote wire.Clock
		asked := time.Now()
		if err := l.send(ctx, "GET", wire.PathClock, nil, &remote); err != nil {
			return clock{}, err
		}
		half := time.Since(asked) / 2
		if i == 0 || half < best.uncertainty {
			best = clock{base: asked.Add(half), remote: remote.Now, uncertainty: half}
		}
	}
	return best, nil
}

// resyncEvery is how often the clocks are compared again: two good ones part by no
// more than a millisecond or two in that time.
const resyncEvery = 30 * time.Second

// closeEnough is the uncertainty up to which a new comparison replaces the old one.
const closeEnough = 5 * time.Millisecond

// pump carries what the prober saw to the timeline and into memory.
type pump struct {
	link  *link
	clock clock                 // at the start; the history is in this one throughout
	now   atomic.Pointer[clock] // of the timeline, kept in step
	log   *timeline.Log         // nil where there is no timeline, and no pod is sampled
	slog  *slog.Logger

	draining  chan struct{} // closed when the prober has nothing more to say
	drainOnce sync.Once
	drained   sync.WaitGroup

	mu      sync.Mutex
	ops     []Operation
	late    []lateness // operations that the prober itself started late
	lists   map[string]*contact
	dropped int64
}

// lateness is how long after its due time the prober started an operation.
type lateness struct {
	due time.Time
	by  time.Duration
}

// onTime is a delay that is not worth remembering.
const onTime = 5 * time.Millisecond

// contact tells how reading one of the prober's lists goes.
type contact struct {
	heard   time.Time // when it was last read
	failure error     // why it could not be read since, nil if it could
}

func newPump(l *link, c clock, log *timeline.Log, logger *slog.Logger) *pump {
	p := &pump{link: l, clock: c, log: log, slog: logger, draining: make(chan struct{}), lists: map[string]*contact{
		wire.PathRecords: {heard: time.Now()}, wire.PathSamples: {heard: time.Now()},
	}}
	p.now.Store(&c)
	p.drained.Add(2)
	return p
}

// at translates an instant of the prober's clock for the timeline.
func (p *pump) at(remote int64) time.Time { return p.now.Load().at(remote) }

// keepTime compares the clocks again and again until ctx is done.
func (p *pump) keepTime(ctx context.Context) {
	tick := time.NewTicker(resyncEvery)
	defer tick.Stop()
	for {
		select {
		case <-tick.C:
		case <-ctx.Done():
			return
		}
		if c, err := synchronise(ctx, p.link); err == nil { // else the prober is out of reach, which Err tells
			p.adopt(c)
		}
	}
}

// adopt takes a comparison of the clocks, unless it is too rough to be of use.
func (p *pump) adopt(c clock) {
	if c.uncertainty <= max(closeEnough, p.clock.uncertainty) {
		p.now.Store(&c)
	}
}

func (p *pump) records(ctx context.Context) {
	defer p.drained.Done()
	follow(ctx, p, wire.PathRecords, func(r wire.Record) int64 {
		// The history is in the suite's time too, so that it can be laid beside
		// the timeline. Every instant moves by the same amount, whatever the clocks
		// do: the order of operations is what counts.
		op := operationOf(r, time.Duration(p.clock.base.UnixNano()-p.clock.remote))
		due := p.at(r.Due)
		late := time.Duration(r.Call - r.Due)
		p.mu.Lock()
		p.ops = append(p.ops, op)
		// A read before a write delays the write; that is not the prober's doing.
		if late > onTime && op.clocked() && r.Kind == history.Read {
			p.late = append(p.late, lateness{due, late})
		}
		p.mu.Unlock()
		if op.clocked() && p.log != nil {
			e := op.event()
			e.At = due
			p.log.Append(e)
		}
		return r.N
	})
}

func (p *pump) samples(ctx context.Context) {
	defer p.drained.Done()
	kinds := map[string]timeline.Kind{
		wire.Leader: timeline.Leader, wire.Seal: timeline.Seal, wire.Gap: timeline.Gap,
		wire.Cluster: timeline.Cluster, wire.Index: timeline.Index, wire.Term: timeline.Term,
	}
	follow(ctx, p, wire.PathSamples, func(s wire.Sample) int64 {
		p.log.Append(timeline.Event{
			At: p.at(s.At), Kind: kinds[s.Kind], Subject: s.Pod, Value: s.Value, Detail: s.Detail, LatencyMS: float64(s.For) / 1e6,
		})
		return s.N
	})
}

// pollEvery is how often a list is read that has little new. A question for each entry
// would cost the prober, and the API server in between, more than the load itself.
const pollEvery = 100 * time.Millisecond

// much is from how many entries on a list is read again at once.
const much = 1000

// follow reads a list from its beginning until ctx is done or, when draining,
// until nothing new comes. take returns the number of the entry.
func follow[T any](ctx context.Context, p *pump, path string, take func(T) int64) {
	retry := time.NewTicker(retryEvery)
	defer retry.Stop()
	poll := time.NewTicker(pollEvery)
	defer poll.Stop()
	last := int64(0)
	for ctx.Err() == nil {
		draining := false
		select {
		case <-p.draining:
			draining = true
		default:
		}
		items, dropped, err := fetch[T](ctx, p.link, path, last)
		p.note(ctx, path, dropped, err)
		if err != nil {
			select {
			case <-retry.C:
			case <-ctx.Done():
			}
			continue
		}
		last += dropped
		for _, item := range items {
			last = take(item)
		}
		if draining && len(items) == 0 {
			return
		}
		if len(items) >= much {
			continue
		}
		select {
		case <-poll.C:
		case <-p.draining:
		case <-ctx.Done():
		}
	}
}

// note keeps account of how reading went.
func (p *pump) note(ctx context.Context, path string, dropped int64, err error) {
	if ctx.Err() != nil {
		return // cut off by ourselves
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	list := p.lists[path]
	if err != nil {
		if list.failure == nil {
			p.slog.Debug("prober out of reach", "list", path, "error", err.Error())
		}
		list.failure = err
		return
	}
	list.heard, list.failure = time.Now(), nil
	p.dropped += dropped
}

// problem is what Err returns.
func (p *pump) problem(now time.Time) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.dropped > 0 {
		return fmt.Errorf("the prober dropped %d entries before they were fetched", p.dropped)
	}
	for _, path := range []string{wire.PathRecords, wire.PathSamples} {
		list := p.lists[path]
		if silence := now.Sub(list.heard); list.failure != nil && silence > outOfReach {
			return fmt.Errorf("the prober's %s have been out of reach for %s: %w", path[1:], silence.Round(time.Second), list.failure)
		}
	}
	return nil
}

// drain waits until everything that the prober has is here. The prober must
// have stopped.
func (p *pump) drain(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, drainPatience)
	defer cancel()
	p.drainOnce.Do(func() { close(p.draining) })
	empty := make(chan struct{})
	go func() {
		p.drained.Wait()
		close(empty)
	}()
	select {
	case <-empty:
		p.mu.Lock()
		defer p.mu.Unlock()
		if p.dropped > 0 {
			return fmt.Errorf("the prober dropped %d entries before they were fetched", p.dropped)
		}
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

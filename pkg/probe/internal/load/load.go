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
	"net"
	"strconv"
	"sync"
	"time"

	"github.com/vaultproof/vaultproof/pkg/history"
	"github.com/vaultproof/vaultproof/pkg/probe/internal/wire"
)

// GCPercent is how much a process that does little but load lets its heap grow between
// collections: its heap is small, and short of memory it never is.
const GCPercent = 400

// Load is all that one prober sends: streams of operations, each on a schedule and
// with connections of its own.
type Load struct {
	cfg     wire.Config
	clock   wire.Ticker
	emit    func(wire.Record)
	unique  string // in every value, so that no other load writes the same
	streams []*stream

	mu       sync.Mutex
	clients  int // the lowest client number that is free
	sequence int64
	pods     wire.Pods
}

// New prepares a load; emit gets each operation when it ends and may be called
// from many goroutines.
func New(cfg wire.Config, clock wire.Ticker, emit func(wire.Record)) (*Load, error) {
	l := &Load{
		cfg: cfg, clock: clock, emit: emit,
		unique: fmt.Sprintf("%x", clock.Now()), clients: cfg.FirstClient, pods: cfg.Pods,
	}
	streams := cfg.Streams
	if cfg.Rate > 0 {
		streams = append([]wire.Stream{cfg.Main()}, streams...)
	}
	for i, sc := range streams {
		s, err := l.newStream(sc, rand.New(rand.NewPCG(cfg.Seed, 0x7661756c74+uint64(i))))
		if err != nil {
			return nil, err
		}
		l.streams = append(l.streams, s)
	}
	return l, nil
}

// Through has all connections opened by dial. It is called before Run.
func (l *Load) Through(dial func(ctx context.Context, network, address string) (net.Conn, error)) {
	for _, s := range l.streams {
		s.client.pool.DialContext = dial
	}
}

// SetPods tells where pods are now, for the streams that go to one of them.
func (l *Load) SetPods(pods wire.Pods) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.pods = pods
}

// dialPod opens connections to a pod, wherever it is.
func (l *Load) dialPod(pod string, dial dialFunc) dialFunc {
	return func(ctx context.Context, network, _ string) (net.Conn, error) {
		l.mu.Lock()
		ip := l.pods[pod]
		l.mu.Unlock()
		if ip == "" {
			return nil, fmt.Errorf("pod %s is gone", pod)
		}
		return dial(ctx, network, net.JoinHostPort(ip, strconv.Itoa(l.cfg.SamplePort)))
	}
}

// Run keeps the schedules until ctx is done, then waits for the operations in
// flight, which takes at most their timeout. Arrivals that the process was
// too slow for are sent at once, late, and their latency shows it.
func (l *Load) Run(ctx context.Context) {
	var running sync.WaitGroup
	for _, s := range l.streams {
		running.Go(func() { s.run(ctx) })
	}
	running.Wait()
	<-ctx.Done() // a load without streams lasts as long as others
}

// Final reads every key and journal, again and again until it answers or ctx is
// done, and uses every token and lease that should be alive once more. It is asked
// when the load has ended and the cluster has healed. On error the result holds
// what could be read.
func (l *Load) Final(ctx context.Context) (history.Final, error) {
	final := history.Final{Registers: map[string]history.State{}, Journals: map[string][]string{}}
	for _, s := range l.streams {
		if err := s.actor.final(ctx, &final); err != nil {
			return final, fmt.Errorf("%w (%d keys and %d journals were read)", err, len(final.Registers), len(final.Journals))
		}
	}
	return final, nil
}

// claimClients reserves n client numbers and returns the first.
func (l *Load) claimClients(n int) int {
	l.mu.Lock()
	defer l.mu.Unlock()
	first := l.clients
	l.clients += n
	return first
}

// value is a value that no other write has.
func (l *Load) value() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.sequence++
	return l.unique + "-" + strconv.FormatInt(l.sequence, 10)
}

// retryEvery is how soon a question at the end is repeated.
const retryEvery = 200 * time.Millisecond

// insist asks until it is answered or ctx is done.
func (l *Load) insist(ctx context.Context, what string, ask func(context.Context) reply) error {
	retry := time.NewTicker(retryEvery)
	defer retry.Stop()
	why := ""
	for {
		attempt, cancel := context.WithTimeout(ctx, l.cfg.Timeout)
		r := ask(attempt)
		cancel()
		if r.outcome == history.OK {
			return nil
		}
		if ctx.Err() == nil || why == "" {
			why = r.err // what went wrong, rather than that time was over while trying again
		}
		select {
		case <-retry.C:
		case <-ctx.Done():
			return fmt.Errorf("reading %s at the end: %s", what, why)
		}
	}
}

package probe

import (
	"context"
	"net"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"google.golang.org/grpc/test/bufconn"

	"github.com/vaultproof/vaultproof/pkg/probe/internal/fakevault"
	"github.com/vaultproof/vaultproof/pkg/probe/internal/load"
	"github.com/vaultproof/vaultproof/pkg/probe/internal/raced"
	"github.com/vaultproof/vaultproof/pkg/probe/internal/wire"
	"github.com/vaultproof/vaultproof/pkg/timeline"
)

// clockError is by how much the outage that the load tells of may differ from the
// one that there was, on a machine that is not busy. Two intervals of the load.
const clockError = 20 * time.Millisecond

// blackout is an outage that the load sees through a relay.
type blackout struct {
	load  *load.Load
	relay *relay
	log   *timeline.Log
}

// newBlackout prepares load, at the rate of a run, on a server behind a relay.
func newBlackout(t testing.TB, server *fakevault.Server, r *relay, dial func(context.Context) (net.Conn, error)) *blackout {
	t.Helper()
	cfg := wire.Config{
		Address: server.URL, CAPEM: server.CA(), ServerName: fakevault.ServerName, Token: fakevault.Token,
		Mount: DefaultMount, Prefix: "clock", Rate: DefaultRate,
	}.WithDefaults()
	b := &blackout{relay: r, log: timeline.New(nil)}
	var err error
	b.load, err = load.New(cfg, wire.NewTicker(), func(rec wire.Record) {
		if op := operationOf(rec, 0); op.clocked() {
			b.log.Append(op.event())
		}
	})
	if err != nil {
		t.Fatal(err)
	}
	b.load.Through(func(ctx context.Context, _, _ string) (net.Conn, error) { return dial(ctx) })
	return b
}

// span is what was dropped, and what the load says of it.
type span struct {
	dropped, opened time.Time
	reported        Window
}

// start and end are by how much the report is later than the truth.
func (s span) start() time.Duration { return s.reported.Start.Sub(s.dropped) }
func (s span) end() time.Duration   { return s.reported.End.Sub(s.opened) }

// error is the larger of the errors of beginning, end and length.
func (s span) error() time.Duration {
	return max(s.start().Abs(), s.end().Abs(), (s.end() - s.start()).Abs())
}

// measure drops everything after some time, for a while, and reads the clock.
func (b *blackout) measure(ctx context.Context, after, length time.Duration) span {
	ctx, cancel := context.WithCancel(ctx)
	var running sync.WaitGroup
	running.Go(func() { b.load.Run(ctx) })
	started := time.Now()
	<-time.After(after)
	s := span{dropped: b.relay.drop()}
	<-time.After(length)
	s.opened = b.relay.open()
	<-time.After(Calm + 500*time.Millisecond)
	cancel()
	running.Wait()
	s.reported = Outage(b.log.Events(), started, time.Now())
	return s
}

// Whatever the phase of the schedule in which an outage begins and ends, the clock is
// right within two intervals of the load. The time in here is not the machine's.
func TestTheOutageClockIsRight(t *testing.T) {
	if raced.Detector {
		t.Skip("the race detector crashes in a bubble; see package raced")
	}
	for _, test := range []struct{ after, length time.Duration }{
		{500 * time.Millisecond, 300 * time.Millisecond},
		{501 * time.Millisecond, 707 * time.Millisecond},
		{505 * time.Millisecond, 1500 * time.Millisecond},
		{509 * time.Millisecond, 4 * time.Second},
	} {
		synctest.Test(t, func(t *testing.T) {
			server := fakevault.NewInMemory("vault-0")
			t.Cleanup(server.Close)
			front := bufconn.Listen(64 << 10)
			r := newRelay(t, front, func(ctx context.Context) (net.Conn, error) { return server.Dial(ctx, "", "") })
			s := newBlackout(t, server, r, front.DialContext).measure(t.Context(), test.after, test.length)
			if s.reported.Open || s.error() > clockError {
				t.Errorf("dropped for %s: reported from %s to %s later, want within %s: %+v",
					s.opened.Sub(s.dropped), s.start(), s.end(), clockError, s.reported)
			}
		})
	}
}

// The same over TCP, on this machine's time. BenchmarkOutageClock tells the error; here
// only a clock that is plainly wrong is found, as the machine may be busy.
func TestTheOutageClockIsRightOverTCP(t *testing.T) {
	s := overTCP(t, 500*time.Millisecond, 700*time.Millisecond)
	t.Logf("reported from %s to %s later than it was", s.start(), s.end())
	if s.reported.Open || s.error() > 10*clockError {
		t.Errorf("dropped for %s: reported from %s to %s later, want within %s: %+v",
			s.opened.Sub(s.dropped), s.start(), s.end(), 10*clockError, s.reported)
	}
}

// overTCP measures one outage after some time, of the given length.
func overTCP(t testing.TB, after, length time.Duration) span {
	t.Helper()
	server := fakevault.New("vault-0")
	t.Cleanup(server.Close)
	listener, err := (&net.ListenConfig{}).Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	to := func(address string) func(context.Context) (net.Conn, error) {
		dial := reach(address)
		return func(ctx context.Context) (net.Conn, error) { return dial(ctx, "tcp", address) }
	}
	r := newRelay(t, listener, to(server.Listener.Addr().String()))
	return newBlackout(t, server, r, to(listener.Addr().String())).measure(t.Context(), after, length)
}

// BenchmarkOutageClock tells by how much reported outages differ from what a relay did
// at known instants. Each takes some seconds: run it with -benchtime 5x.
func BenchmarkOutageClock(b *testing.B) {
	var worst, start, end time.Duration
	n := 0
	for b.Loop() {
		phase := time.Duration(n) * 3700 * time.Microsecond // of the schedule, another one each time
		s := overTCP(b, 500*time.Millisecond+phase, 700*time.Millisecond+phase)
		worst, start, end = max(worst, s.error()), start+s.start(), end+s.end()
		n++
	}
	ms := func(d time.Duration) float64 { return float64(d.Microseconds()) / 1000 }
	b.ReportMetric(ms(worst), "worst-error-ms")
	b.ReportMetric(ms(start)/float64(n), "start-later-ms")
	b.ReportMetric(ms(end)/float64(n), "end-later-ms")
}

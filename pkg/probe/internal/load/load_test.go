package load

import (
	"context"
	"net"
	"net/http"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/vaultproof/vaultproof/pkg/history"
	"github.com/vaultproof/vaultproof/pkg/probe/internal/fakevault"
	"github.com/vaultproof/vaultproof/pkg/probe/internal/raced"
	"github.com/vaultproof/vaultproof/pkg/probe/internal/wire"
)

// bubble runs a test on a clock of its own.
func bubble(t *testing.T, test func(t *testing.T)) {
	t.Helper()
	if raced.Detector {
		t.Skip("the race detector crashes in a bubble; see package raced")
	}
	synctest.Test(t, test)
}

// bench is a load against a server, and what came of it.
type bench struct {
	t       *testing.T
	server  *fakevault.Server
	load    *Load
	cfg     wire.Config
	mu      sync.Mutex
	records []wire.Record
}

func newBench(t *testing.T, change func(*wire.Config)) *bench {
	t.Helper()
	server := fakevault.NewInMemory("vault-0")
	t.Cleanup(server.Close)
	cfg := wire.Config{
		Address: server.URL, CAPEM: server.CA(), ServerName: fakevault.ServerName, Token: fakevault.Token,
		Mount: "secret", Prefix: "test", Rate: 200, Seed: 1,
	}
	if change != nil {
		change(&cfg)
	}
	cfg = cfg.WithDefaults()
	if err := cfg.Validate(); err != nil {
		t.Fatal(err)
	}
	b := &bench{t: t, server: server, cfg: cfg}
	var err error
	if b.load, err = New(cfg, wire.NewTicker(), func(r wire.Record) {
		b.mu.Lock()
		defer b.mu.Unlock()
		b.records = append(b.records, r)
	}); err != nil {
		t.Fatal(err)
	}
	b.load.Through(server.Dial)
	t.Cleanup(b.client().pool.CloseIdleConnections)
	return b
}

// client is that of the main stream.
func (b *bench) client() *client { return b.load.streams[0].client }

// run keeps the schedule for a while, and calls during in the meantime.
func (b *bench) run(length time.Duration, during func(ctx context.Context)) []wire.Record {
	ctx, cancel := context.WithTimeout(b.t.Context(), length)
	defer cancel()
	var side sync.WaitGroup
	if during != nil {
		side.Go(func() { during(ctx) })
	}
	b.load.Run(ctx)
	side.Wait()
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.records
}

func pause(ctx context.Context, d time.Duration) {
	select {
	case <-time.After(d):
	case <-ctx.Done():
	}
}

func ops(records []wire.Record) []history.Op {
	var all []history.Op
	for _, r := range records {
		all = append(all, r.Op)
	}
	return all
}

// judge demands that a history is linearizable and that nothing was lost.
func (b *bench) judge(records []wire.Record) {
	b.t.Helper()
	result, err := history.Linearizable(b.t.Context(), ops(records))
	if err != nil || !result.OK {
		b.t.Errorf("the history is %s: %s (%v)", result.Verdict, result.Info, err)
	}
	if losses := history.Lost(ops(records), b.final()); len(losses) > 0 {
		b.t.Errorf("lost %v", losses)
	}
}

// final is what the load finds at its end.
func (b *bench) final() history.Final {
	b.t.Helper()
	ctx, cancel := context.WithTimeout(b.t.Context(), time.Minute)
	defer cancel()
	final, err := b.load.Final(ctx)
	if err != nil {
		b.t.Fatal(err)
	}
	return final
}

func TestScheduleIsKept(t *testing.T) { bubble(t, testScheduleIsKept) }

func testScheduleIsKept(t *testing.T) {
	b := newBench(t, nil)
	records := b.run(time.Second, nil)
	if n := len(records); n != 200 && n != 201 { // the last is due at the very end
		t.Errorf("%d operations in a second at 200/s", n)
	}
	slices.SortFunc(records, func(a, b wire.Record) int { return int(a.Due - b.Due) })
	for i := range records[1:] {
		if gap := records[i+1].Due - records[i].Due; gap != 5e6 {
			t.Fatalf("operation %d was due %d ns after the one before, want 5 ms", i+1, gap)
		}
	}
	writes := 0
	for _, r := range records {
		if r.Outcome != history.OK || r.Pod != "vault-0" {
			t.Fatalf("operation failed against a healthy server: %+v", r)
		}
		if r.Kind == history.Write {
			writes++
		}
	}
	if share := float64(writes) / float64(len(records)); share < 0.48 || share > 0.52 {
		t.Errorf("%.0f %% of the operations are writes, want half", 100*share)
	}
	b.judge(records)
}

// The reason for an open loop: while the server stalls, operations keep
// arriving, and their latencies tell how long each would have waited.
func TestArrivalsGoOnWhileTheServerStalls(t *testing.T) {
	bubble(t, testArrivalsGoOnWhileTheServerStalls)
}

func testArrivalsGoOnWhileTheServerStalls(t *testing.T) {
	b := newBench(t, nil)
	var from, to int64
	records := b.run(1500*time.Millisecond, func(ctx context.Context) {
		pause(ctx, 400*time.Millisecond)
		resume := b.server.Stall()
		from = b.load.clock.Now()
		pause(ctx, 600*time.Millisecond)
		to = b.load.clock.Now()
		resume()
	})
	arrived, early, late := 0, int64(0), int64(0)
	for _, r := range records {
		if r.Due < from || r.Due >= to {
			continue
		}
		arrived++
		latency := r.Return - r.Due
		if r.Due < from+50e6 {
			early = max(early, latency)
		}
		if r.Due > to-50e6 {
			late = max(late, latency)
		}
	}
	if arrived != 120 {
		t.Errorf("%d operations were due in a stall of 600 ms at 200/s, want 120", arrived)
	}
	if early < 595e6 || early > 600e6 {
		t.Errorf("the longest latency from the beginning of the stall is %d ms, want 600", early/1e6)
	}
	if late > 50e6 {
		t.Errorf("the longest latency from its end is %d ms, want under 50", late/1e6)
	}
	b.judge(records)
}

func TestTimeoutsLeaveWritesInDoubt(t *testing.T) { bubble(t, testTimeoutsLeaveWritesInDoubt) }

func testTimeoutsLeaveWritesInDoubt(t *testing.T) {
	b := newBench(t, func(c *wire.Config) { c.Timeout = 300 * time.Millisecond; c.Keys = 100 })
	records := b.run(2*time.Second, func(ctx context.Context) {
		pause(ctx, 300*time.Millisecond)
		resume := b.server.Stall()
		pause(ctx, 800*time.Millisecond)
		resume()
	})
	unknown, aux := 0, 0
	for _, r := range records {
		if r.Outcome == history.Unknown {
			unknown++
			if r.Kind == history.Read {
				t.Errorf("a read is in doubt: %+v", r)
			}
			if latency := r.Return - r.Due; latency != 300e6 && strings.Contains(r.Error, "timeout") {
				t.Errorf("a write was given up after %d ms, want 300: %s", latency/1e6, r.Error)
			}
		}
		if r.Aux {
			aux++
		}
	}
	if unknown < 20 || aux < 10 {
		t.Errorf("%d writes in doubt and %d reads to learn of them, want dozens", unknown, aux)
	}
	b.judge(records)
}

func TestRefusedConnectionsAreFailures(t *testing.T) { bubble(t, testRefusedConnectionsAreFailures) }

func testRefusedConnectionsAreFailures(t *testing.T) {
	b := newBench(t, nil)
	records := b.run(time.Second, func(ctx context.Context) {
		pause(ctx, 300*time.Millisecond)
		b.server.Refuse(&net.OpError{Op: "dial", Err: syscall.ECONNREFUSED})
		b.server.CloseClientConnections()
	})
	refused := 0
	for _, r := range records {
		if strings.Contains(r.Error, "refused") {
			refused++
			if r.Kind == history.Write && r.Outcome == history.OK {
				t.Errorf("a refused write is acknowledged: %+v", r)
			}
		}
	}
	if refused < 50 {
		t.Errorf("%d operations were refused, want most of the last 700 ms", refused)
	}
	last := records[len(records)-1]
	if last.Outcome != history.Fail {
		t.Errorf("a write that never got a connection is %s, want fail: %s", last.Outcome, last.Error)
	}
}

func TestOverloadIsRecorded(t *testing.T) { bubble(t, testOverloadIsRecorded) }

func testOverloadIsRecorded(t *testing.T) {
	for name, change := range map[string]func(*wire.Config){
		"operations in flight": func(c *wire.Config) { c.MaxInFlight = 10; c.Keys = 1000 },
		"every key waits":      func(c *wire.Config) { c.MaxInFlight = 1000; c.Keys = 3 },
	} {
		b := newBench(t, change)
		resume := b.server.Stall()
		records := b.run(time.Second, func(ctx context.Context) {
			pause(ctx, 700*time.Millisecond)
			resume()
		})
		overloaded := 0
		for _, r := range records {
			if strings.Contains(r.Error, name) {
				overloaded++
			}
		}
		if len(records) < 190 || overloaded < 50 {
			t.Errorf("%s: %d of %d operations were refused for overload; none may be skipped, and most must be refused",
				name, overloaded, len(records))
		}
		b.judge(records)
	}
}

func TestAnswersAreRead(t *testing.T) { bubble(t, testAnswersAreRead) }

func testAnswersAreRead(t *testing.T) {
	say := func(status int, body string) http.HandlerFunc {
		return func(w http.ResponseWriter, _ *http.Request) {
			w.WriteHeader(status)
			_, _ = w.Write([]byte(body))
		}
	}
	hangUp := func(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) }
	for name, test := range map[string]struct {
		answer      http.HandlerFunc
		write, read history.Outcome
		text        string
	}{
		"healthy":        {nil, history.OK, history.OK, ""},
		"sealed":         {say(503, `{"errors":["Vault is sealed"]}`), history.Fail, history.Fail, "HTTP 503 Vault is sealed"},
		"no active":      {say(500, `{"errors":["local node not active but active cluster node not found"]}`), history.Fail, history.Fail, "not active"},
		"internal error": {say(500, `{"errors":["leadership lost while committing log"]}`), history.Unknown, history.Fail, "HTTP 500 leadership"},
		"bad gateway":    {say(502, "<html>"), history.Unknown, history.Fail, "HTTP 502"},
		"denied":         {say(403, `{"errors":["permission denied"]}`), history.Fail, history.Fail, "HTTP 403"},
		"refused by cas": {say(400, `{"errors":["check-and-set parameter did not match the current version"]}`), history.Fail, history.Fail, "check-and-set"},
		"redirect":       {say(307, ""), history.Fail, history.Fail, "HTTP 307"},
		"no JSON":        {say(200, "welcome"), history.Unknown, history.Fail, "no version"},
		"no version":     {say(200, `{"data":{}}`), history.Unknown, history.Fail, "no version"},
		"no mount":       {say(404, `{"errors":["no handler for route"]}`), history.Fail, history.Fail, "no handler"},
		"any web server": {say(404, `not found`), history.Fail, history.Fail, "HTTP 404"},
		"hang up":        {hangUp, history.Unknown, history.Fail, "closed"},
	} {
		b := newBench(t, nil)
		b.server.Intercept(test.answer)
		w, r := b.client().write(t.Context(), "k", "v", 0), b.client().read(t.Context(), "k")
		if w.outcome != test.write || r.outcome != test.read {
			t.Errorf("%s: write is %s (%s), read is %s (%s); want %s and %s", name, w.outcome, w.err, r.outcome, r.err, test.write, test.read)
		}
		if !strings.Contains(w.err, test.text) {
			t.Errorf("%s: the error is %q, want %q in it", name, w.err, test.text)
		}
	}
}

func TestTheServerIsVerified(t *testing.T) { bubble(t, testTheServerIsVerified) }

func testTheServerIsVerified(t *testing.T) {
	for name, change := range map[string]func(*wire.Config){
		"wrong name": func(c *wire.Config) { c.ServerName = "vault.test" },
	} {
		b := newBench(t, change)
		if r := b.client().write(t.Context(), "k", "v", 0); r.outcome != history.Fail || b.server.Requests() > 0 {
			t.Errorf("%s: the write is %s (%s), and %d requests reached the server", name, r.outcome, r.err, b.server.Requests())
		}
	}
	if _, err := newClient(wire.Config{CAPEM: []byte("no PEM")}, wire.Stream{Address: "https://vault"}); err == nil {
		t.Error("a CA without a certificate was accepted")
	}
}

// A dead connection costs one operation, not one for each that is in the pool.
func TestOneTimeoutEmptiesThePool(t *testing.T) { bubble(t, testOneTimeoutEmptiesThePool) }

func testOneTimeoutEmptiesThePool(t *testing.T) {
	b := newBench(t, func(c *wire.Config) { c.Timeout = 200 * time.Millisecond; c.Rate = 1 })
	c := b.client()
	resume := b.server.Stall()
	var group sync.WaitGroup
	for range 8 { // eight connections at a time
		group.Go(func() { c.read(t.Context(), "k") })
	}
	pause(t.Context(), 100*time.Millisecond)
	resume()
	group.Wait()
	if n := b.server.Dials(); n != 8 {
		t.Fatalf("8 reads at a time used %d connections", n)
	}
	resume = b.server.Stall()
	ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
	defer cancel()
	if r := c.read(ctx, "k"); !strings.Contains(r.err, "timeout") {
		t.Fatalf("a read of a stalled server says %q, want a timeout", r.err)
	}
	resume()
	synctest.Wait()
	before := b.server.Dials()
	if r := c.read(t.Context(), "k"); r.outcome != history.OK {
		t.Errorf("after a timeout a read is %s (%s)", r.outcome, r.err)
	}
	if n := b.server.Dials() - before; n != 1 {
		t.Errorf("the read after a timeout made %d connections, want its own", n)
	}
}

// The judgement is not blind: a server that forgets is convicted by the same
// client.
func TestAForgetfulServerIsCaught(t *testing.T) { bubble(t, testAForgetfulServerIsCaught) }

func testAForgetfulServerIsCaught(t *testing.T) {
	b := newBench(t, func(c *wire.Config) { c.Keys = 10 })
	records := b.run(1200*time.Millisecond, func(ctx context.Context) {
		pause(ctx, 600*time.Millisecond)
		b.server.Lose()
	})
	result, err := history.Linearizable(t.Context(), ops(records))
	if err != nil || result.Verdict != history.Violation {
		t.Errorf("a server that lost writes is %s: %s (%v)", result.Verdict, result.Info, err)
	}
	b.server.Lose()
	if len(history.Lost(ops(records), b.final())) == 0 {
		t.Error("lost writes were not found")
	}
}

func TestFinalGivesUpWithTheContext(t *testing.T) { bubble(t, testFinalGivesUpWithTheContext) }

func testFinalGivesUpWithTheContext(t *testing.T) {
	b := newBench(t, nil)
	b.server.Become(true, true, "")
	ctx, cancel := context.WithTimeout(t.Context(), 300*time.Millisecond)
	defer cancel()
	if _, err := b.load.Final(ctx); err == nil || !strings.Contains(err.Error(), "sealed") {
		t.Errorf("reading a sealed server says %v, want why", err)
	}
}

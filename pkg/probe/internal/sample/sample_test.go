package sample

import (
	"context"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/vaultproof/vaultproof/pkg/probe/internal/fakevault"
	"github.com/vaultproof/vaultproof/pkg/probe/internal/wire"
)

// bench is a sampler of one server that poses as vault-0.
type bench struct {
	t       *testing.T
	server  *fakevault.Server
	sampler *Sampler
	mu      sync.Mutex
	samples []wire.Sample
}

func newBench(t *testing.T) *bench {
	t.Helper()
	server := fakevault.New("vault-0")
	t.Cleanup(server.Close)
	u, err := url.Parse(server.URL)
	if err != nil {
		t.Fatal(err)
	}
	port, err := strconv.Atoi(u.Port())
	if err != nil {
		t.Fatal(err)
	}
	b := &bench{t: t, server: server}
	b.sampler, err = New(wire.Config{
		Address: server.URL, CAPEM: server.CA(), ServerName: fakevault.ServerName, Token: fakevault.Token, SamplePort: port,
		SampleEvery: 10 * time.Millisecond, SampleTimeout: 200 * time.Millisecond, Pods: wire.Pods{"vault-0": u.Hostname()},
	}, wire.NewTicker(), func(s wire.Sample) {
		b.mu.Lock()
		defer b.mu.Unlock()
		b.samples = append(b.samples, s)
	})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	var done sync.WaitGroup
	done.Go(func() { b.sampler.Run(ctx) })
	t.Cleanup(func() { cancel(); done.Wait() })
	return b
}

// await waits until the last sample of a kind has a value, and returns it.
func (b *bench) await(kind, value string) wire.Sample {
	b.t.Helper()
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	patience := time.After(3 * time.Second)
	for {
		last := b.last(kind)
		if last.Value == value {
			return last
		}
		select {
		case <-tick.C:
		case <-patience:
			b.t.Fatalf("%s stayed %q (%s), want %q", kind, last.Value, last.Detail, value)
		}
	}
}

func (b *bench) last(kind string) wire.Sample {
	b.mu.Lock()
	defer b.mu.Unlock()
	for i := len(b.samples) - 1; i >= 0; i-- {
		if b.samples[i].Kind == kind {
			return b.samples[i]
		}
	}
	return wire.Sample{}
}

// gap counts the gaps reported so far, and tells whether one is at least as long.
func (b *bench) gap(atLeast time.Duration) (n int, found bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	for _, s := range b.samples {
		if s.Kind == wire.Gap {
			n++
			found = found || s.For >= int64(atLeast)
		}
	}
	return n, found
}

// count leaves gaps out, which a busy machine may make.
func (b *bench) count() (n int) {
	b.mu.Lock()
	defer b.mu.Unlock()
	for _, s := range b.samples {
		if s.Kind != wire.Gap {
			n++
		}
	}
	return n
}

func TestChangesAreReportedOnce(t *testing.T) {
	b := newBench(t)
	b.await(wire.Leader, Active)
	b.await(wire.Seal, Unsealed)
	before, asked := b.count(), b.server.Requests()
	<-time.After(200 * time.Millisecond)
	if b.count() != before || b.server.Requests() < asked+10 {
		t.Errorf("in a steady state %d samples were reported for %d questions, want none for dozens",
			b.count()-before, b.server.Requests()-asked)
	}
	b.server.Become(false, false, "https://vault-1.vault-internal.vault.svc:8200")
	if s := b.await(wire.Leader, Standby); s.Detail != "knows vault-1" || s.Pod != "vault-0" {
		t.Errorf("a standby is reported as %+v", s)
	}
	b.server.Become(false, false, "")
	for b.last(wire.Leader).Detail != "knows no active" {
		if t.Context().Err() != nil {
			t.Fatal("a standby that lost its active was not reported")
		}
	}
	b.server.Become(false, true, "")
	b.await(wire.Leader, Sealed)
	b.await(wire.Seal, Sealed)
}

func TestSilenceIsDatedWhenItBegan(t *testing.T) {
	b := newBench(t)
	b.await(wire.Leader, Active)
	resume := b.server.Stall()
	s := b.await(wire.Leader, Unreachable)
	if ago := (b.sampler.clock.Now() - s.At) / 1e6; ago < 199 {
		t.Errorf("a pod that was found silent after 200 ms counts as such for %d ms, want from the question on", ago)
	}
	resume()
	b.await(wire.Leader, Active)
	b.await(wire.Seal, Unsealed)
}

func TestPodsComeAndGo(t *testing.T) {
	b := newBench(t)
	b.await(wire.Leader, Active)
	b.sampler.SetPods(wire.Pods{})
	if s := b.await(wire.Leader, Unreachable); s.Detail != "the pod is gone" {
		t.Errorf("a pod that is gone is reported as %+v", s)
	}
	b.await(wire.Seal, Unreachable)
	b.sampler.SetPods(wire.Pods{"vault-0": "127.0.0.1"})
	b.await(wire.Leader, Active)
	b.sampler.SetPods(wire.Pods{"vault-0": "127.0.0.2"}) // nothing vouches for this address
	if s := b.await(wire.Leader, Unreachable); s.Detail == "" {
		t.Errorf("no reason for a pod out of reach: %+v", s)
	}
}

func TestLiesAreNotBelieved(t *testing.T) {
	b := newBench(t)
	b.await(wire.Leader, Active)
	b.server.Rename("vault-7")
	if s := b.await(wire.Leader, Unreachable); !strings.Contains(s.Detail, "vault-7") {
		t.Errorf("another pod at the same IP is reported as %+v", s)
	}
	b.server.Rename("vault-0")
	b.await(wire.Leader, Active)
	for name, f := range map[string]http.HandlerFunc{
		"an error":    func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusInternalServerError) },
		"no JSON":     func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write([]byte("hello")) },
		"another API": func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write([]byte("{}")) },
	} {
		b.server.Intercept(f)
		b.await(wire.Leader, Unreachable)
		b.await(wire.Seal, Unreachable)
		b.server.Intercept(nil)
		b.await(wire.Leader, Active)
		b.await(wire.Seal, Unsealed)
		_ = name
	}
}

func TestOnlyTheRightCertificateCounts(t *testing.T) {
	b := newBench(t)
	b.await(wire.Leader, Active)
	b.sampler.SetPods(wire.Pods{})
	b.await(wire.Leader, Unreachable)
	b.sampler.tls.ServerName = "vault.test"
	b.sampler.SetPods(wire.Pods{"vault-1": "127.0.0.1"})
	for b.last(wire.Leader).Pod != "vault-1" {
		if t.Context().Err() != nil {
			return
		}
	}
	if s := b.last(wire.Leader); s.Value != Unreachable || !strings.Contains(s.Detail, "certificate") {
		t.Errorf("a server with another name is reported as %+v", s)
	}
}

func TestAddressesNamePods(t *testing.T) {
	s := &Sampler{pods: wire.Pods{"vault-2": "10.0.0.2"}}
	for address, want := range map[string]string{
		"https://10.0.0.2:8200":               "vault-2",
		"https://10.0.0.3:8200":               "10.0.0.3",
		"https://vault-1.vault-internal:8200": "vault-1",
		"https://[fd00::1]:8200":              "fd00::1",
		"nonsense":                            "nonsense",
	} {
		if got := s.podAt(address); got != want {
			t.Errorf("%s is %q, want %q", address, got, want)
		}
	}
}

// TestALateAnswerLeavesAGap: whatever it says, nobody knows what was before it; and a
// silence that was seen is no gap.
func TestALateAnswerLeavesAGap(t *testing.T) {
	b := newBench(t)
	b.await(wire.Leader, Active)
	resume := b.server.Stall()
	time.AfterFunc(150*time.Millisecond, resume) // within the timeout
	patience := time.After(3 * time.Second)
	for {
		if _, found := b.gap(100 * time.Millisecond); found {
			break
		}
		select {
		case <-time.After(5 * time.Millisecond):
		case <-patience:
			t.Fatal("an answer 150 ms late left no gap")
		}
	}
	if s := b.last(wire.Leader); s.Value != Active {
		t.Errorf("the pod counts as %s after an answer that it is active", s.Value)
	}
}

func TestGaps(t *testing.T) {
	var got []wire.Sample
	s := &Sampler{
		cfg: wire.Config{SampleEvery: 10 * time.Millisecond}, emit: func(s wire.Sample) { got = append(got, s) },
		known: map[string]int64{}, loops: map[string]loop{}, states: map[string]map[string]state{}, clock: wire.NewTicker(),
	}
	ms := func(n int64) int64 { return n * int64(time.Millisecond) }
	s.follow("vault-0", ms(1000), ms(1000)) // the first one: what was before is nobody's business
	s.follow("vault-0", ms(1050), ms(1050))
	s.follow("vault-0", ms(1060), ms(1460)) // a silence, from the question to the timeout
	s.follow("vault-0", ms(1470), ms(1470))
	if len(got) != 0 {
		t.Fatalf("there are the gaps %+v", got)
	}
	s.follow("vault-1", ms(1800), ms(1800))
	s.follow("vault-0", ms(1521), ms(1521))
	if want := (wire.Sample{At: ms(1470), For: ms(51), Pod: "vault-0", Kind: wire.Gap}); len(got) != 1 || got[0] != want {
		t.Errorf("gaps %+v, want %+v", got, want)
	}
}

// BenchmarkSample measures what one question costs, the answer of a server in the
// same process included: ns/op is processor time on one core.
func BenchmarkSample(b *testing.B) {
	server := fakevault.New("vault-0")
	defer server.Close()
	s, err := New(wire.Config{CAPEM: server.CA(), ServerName: fakevault.ServerName, SampleEvery: time.Hour, SampleTimeout: time.Second},
		wire.NewTicker(), func(wire.Sample) {})
	if err != nil {
		b.Fatal(err)
	}
	client := &http.Client{Transport: &http.Transport{TLSClientConfig: s.tls}}
	q := question{kind: wire.Leader, url: server.URL + "/v1/sys/leader"}
	before := processorTime(b)
	for b.Loop() {
		s.ask(b.Context(), client, "vault-0", q)
	}
	spent := processorTime(b) - before
	if got := s.states["vault-0"][wire.Leader].value; got != Active {
		b.Fatalf("the server says %s", got)
	}
	b.ReportMetric(float64(spent.Microseconds())/float64(b.N), "cpu-us/sample")
}

func processorTime(b *testing.B) time.Duration {
	b.Helper()
	var used syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &used); err != nil {
		b.Fatal(err)
	}
	return time.Duration(used.Utime.Nano() + used.Stime.Nano())
}

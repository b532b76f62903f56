package load

import (
	"bufio"
	"context"
	"encoding/json"
	"io"
	"os"
	"os/exec"
	"runtime/debug"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/vaultproof/vaultproof/pkg/probe/internal/fakevault"
	"github.com/vaultproof/vaultproof/pkg/probe/internal/feed"
	"github.com/vaultproof/vaultproof/pkg/probe/internal/wire"
)

// asServer makes this test binary a server in place of tests, so that what the
// server costs is not counted for the load.
const asServer = "LOAD_TEST_AS_SERVER"

// place is where such a server is.
type place struct {
	URL string
	CA  []byte
}

func TestMain(m *testing.M) {
	if os.Getenv(asServer) == "" {
		os.Exit(m.Run())
	}
	server := fakevault.New("vault-0")
	defer server.Close()
	if err := json.NewEncoder(os.Stdout).Encode(place{server.URL, server.CA()}); err != nil {
		os.Exit(1)
	}
	_, _ = io.Copy(io.Discard, os.Stdin) // until whoever started it ends
}

// elsewhere starts a server in another process.
func elsewhere(b *testing.B) place {
	b.Helper()
	cmd := exec.CommandContext(b.Context(), os.Args[0])
	cmd.Env = append(os.Environ(), asServer+"=1")
	stdin, err := cmd.StdinPipe()
	if err != nil {
		b.Fatal(err)
	}
	stdout, err := cmd.StdoutPipe()
	if err != nil {
		b.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() {
		_ = stdin.Close()
		_ = cmd.Wait()
	})
	line, err := bufio.NewReader(stdout).ReadBytes('\n')
	var at place
	if err == nil {
		err = json.Unmarshal(line, &at)
	}
	if err != nil {
		b.Fatalf("the server in another process says where it is: %v", err)
	}
	return at
}

// processorTime is what this process used so far.
func processorTime(b *testing.B) time.Duration {
	b.Helper()
	var used syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &used); err != nil {
		b.Fatal(err)
	}
	return time.Duration(used.Utime.Nano() + used.Stime.Nano())
}

// BenchmarkOperation tells what an operation costs the prober at 1,000 a second,
// which is not what it costs flat out: most of it is waking up.
func BenchmarkOperation(b *testing.B) {
	const rate = 1000
	at := elsewhere(b)
	cfg := wire.Config{
		Address: at.URL, CAPEM: at.CA, ServerName: fakevault.ServerName, Token: fakevault.Token,
		Mount: "secret", Prefix: "test", Rate: rate, Seed: 1,
	}.WithDefaults()
	records := feed.New[wire.Record](b.N + rate)
	l, err := New(cfg, wire.NewTicker(), func(rec wire.Record) {
		records.Add(func(n int64) wire.Record { rec.N = n; return rec })
	})
	if err != nil {
		b.Fatal(err)
	}
	// Handshakes are no part of it: most connections are there when the clock starts.
	var warm sync.WaitGroup
	for range 8 {
		warm.Go(func() { l.streams[0].client.read(b.Context(), "warm") })
	}
	warm.Wait()
	length := time.Duration(b.N) * time.Second / rate
	ctx, cancel := context.WithTimeout(b.Context(), length)
	defer cancel()
	defer debug.SetGCPercent(debug.SetGCPercent(GCPercent)) // as the prober does
	b.ReportAllocs()
	b.ResetTimer()
	before, started := processorTime(b), time.Now()
	l.Run(ctx)
	used, took := processorTime(b)-before, time.Since(started)
	b.StopTimer()
	all, _ := records.After(b.Context(), 0, b.N+rate, 0)
	failed := 0
	for _, r := range all {
		if r.Error != "" {
			failed++
		}
	}
	b.ReportMetric(float64(used.Microseconds())/float64(len(all)), "cpu-µs/op")
	b.ReportMetric(used.Seconds()/took.Seconds(), "cores")
	b.ReportMetric(float64(len(all))/took.Seconds(), "ops/s")
	b.ReportMetric(float64(failed), "failed") // on a machine that is too busy to tell
}

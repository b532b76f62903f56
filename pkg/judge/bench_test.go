package judge

import (
	"bufio"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"runtime/metrics"
	"sync"
	"testing"
	"time"

	"github.com/vaultproof/vaultproof/pkg/history"
	"github.com/vaultproof/vaultproof/pkg/report"
	"github.com/vaultproof/vaultproof/pkg/timeline"
)

// BenchmarkStoredRun judges stored runs of growing length from their files, as
// `make rejudge` does: 1,000 operations a second of every kind, and five faults. A million operations have to be judged within 60 s and 1 GB.
func BenchmarkStoredRun(b *testing.B) {
	for _, n := range []int{10_000, 100_000, 1_000_000} {
		b.Run(fmt.Sprint(n), func(b *testing.B) {
			if n > 100_000 && testing.Short() {
				b.Skip("left out by -short")
			}
			dir := b.TempDir()
			storeScript(b, dir, newScript(1000, n))
			runtime.GC()
			peak := watchMemory()
			for b.Loop() {
				run, err := Read(dir)
				if err != nil {
					b.Fatal(err)
				}
				if j := Judge(b.Context(), run); j.Verdict != report.Certified {
					b.Fatal(j.Verdict, j.Gaps, len(j.Broken()))
				}
			}
			bytes := float64(peak())
			b.ReportMetric(bytes/1e6, "peak-MB")
			b.ReportMetric(bytes/float64(n), "peak-B/op")
			b.ReportMetric(float64(n)*float64(b.N)/b.Elapsed().Seconds(), "ops/s")
		})
	}
}

// watchMemory follows how much memory the process holds, which is what counts for
// a limit; the function returned ends that and tells the most.
func watchMemory() func() uint64 {
	var most uint64
	done := make(chan struct{})
	var watch sync.WaitGroup
	watch.Go(func() {
		held := []metrics.Sample{{Name: "/memory/classes/total:bytes"}, {Name: "/memory/classes/heap/released:bytes"}}
		tick := time.NewTicker(5 * time.Millisecond)
		defer tick.Stop()
		for {
			metrics.Read(held)
			most = max(most, held[0].Value.Uint64()-held[1].Value.Uint64())
			select {
			case <-tick.C:
			case <-done:
				return
			}
		}
	})
	return func() uint64 {
		close(done)
		watch.Wait()
		return most
	}
}

// storeScript writes a run as it is played, without keeping it.
func storeScript(b *testing.B, dir string, s *script) {
	b.Helper()
	ops, flushOps := lines(b, filepath.Join(dir, history.File))
	events, flushEvents := lines(b, filepath.Join(dir, timeline.File))
	interval := s.count / 5 // between faults
	n := 0
	for op := range s.operations() {
		ops(op)
		events(operation(op))
		if n++; n%interval == interval/3 {
			id := fmt.Sprintf("RES-01#%d", n/interval+1)
			for i, step := range []string{"injecting", "injected", "witnessed", "recovered"} {
				events(timeline.Event{At: time.Unix(0, op.Call+int64(i)*3e8), Kind: timeline.Fault, Subject: id, Value: step})
			}
		}
	}
	flushOps()
	flushEvents()
	if err := history.SaveFinal(filepath.Join(dir, history.FinalFile), s.final); err != nil {
		b.Fatal(err)
	}
}

// lines writes values to a file, one a line.
func lines(b *testing.B, path string) (write func(any), flush func()) {
	b.Helper()
	file, err := os.Create(path)
	if err != nil {
		b.Fatal(err)
	}
	buf := bufio.NewWriterSize(file, 1<<16)
	enc := json.NewEncoder(buf)
	write = func(v any) {
		if err := enc.Encode(v); err != nil {
			b.Fatal(err)
		}
	}
	return write, func() {
		if err := buf.Flush(); err != nil {
			b.Fatal(err)
		}
		if err := file.Close(); err != nil {
			b.Fatal(err)
		}
	}
}

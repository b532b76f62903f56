package leak

import (
	"bytes"
	"encoding/base64"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"
)

// benchNeedles is how many secrets the benchmark looks for.
const benchNeedles = 500

// benchSize is how long the benchmark's file is, in bytes.
const benchSize = 128 << 20

// BenchmarkBesideGrep searches one file, a log without secrets, for the same
// needles: here in all their encodings and in what is compressed, and with
// grep -F -f and rg -F -f as they are. Each reads the file from the page cache,
// on one core. -bench prints MB/s of processor time; RG names another ripgrep
// than the one on the path.
func BenchmarkBesideGrep(b *testing.B) {
	dir := b.TempDir()
	path := filepath.Join(dir, "log")
	needles, list := benchSecrets()
	if err := os.WriteFile(filepath.Join(dir, "needles"), list, 0o600); err != nil {
		b.Fatal(err)
	}
	if err := os.WriteFile(path, benchLog(benchSize), 0o600); err != nil {
		b.Fatal(err)
	}
	s, err := New(needles...)
	if err != nil {
		b.Fatal(err)
	}
	b.Run("leak, all encodings", func(b *testing.B) { benchScanner(b, s, path) })
	raw := *s
	raw.forms = make([][]form, len(s.forms))
	for i := range s.forms {
		raw.forms[i] = s.forms[i][:1]
	}
	raw.index = newIndex(raw.forms)
	b.Run("leak, raw needles", func(b *testing.B) { benchScanner(b, &raw, path) })
	b.Run("grep", func(b *testing.B) { benchCommand(b, "grep", "-c", "-F", "-f", filepath.Join(dir, "needles"), path) })
	rg := os.Getenv("RG")
	if rg == "" {
		rg = "rg"
	}
	b.Run("rg", func(b *testing.B) {
		benchCommand(b, rg, "-j1", "--no-config", "-c", "-F", "-f", filepath.Join(dir, "needles"), path)
	})
}

// benchSecrets are tokens and shares, with a list of them for grep.
func benchSecrets() ([]Needle, []byte) {
	random := rand.NewChaCha8([32]byte{1})
	var needles []Needle
	var list bytes.Buffer
	for i := range benchNeedles {
		secret := make([]byte, 63)
		_, _ = random.Read(secret) // never fails
		value := []byte("hvs.CAESI" + base64.RawURLEncoding.EncodeToString(secret))
		if i%2 == 0 {
			value = []byte(base64.StdEncoding.EncodeToString(secret[:33]))
		}
		needles = append(needles, Needle{Name: fmt.Sprint("secret-", i), Value: value})
		list.Write(append(value, '\n'))
	}
	return needles, list.Bytes()
}

// benchLog is a log as Vault and its sidecar write it.
func benchLog(size int) []byte {
	random := rand.New(rand.NewPCG(1, 2))
	words := strings.Fields("core vault is unsealed listener started request path auth token lookup self remote address raft storage applied index heartbeat timeout reached election pod namespace default")
	var log bytes.Buffer
	for log.Len() < size {
		fmt.Fprintf(&log, `{"time":"2026-10-12T16:%02d:%02d.%06dZ","level":"INFO","msg":"`, random.IntN(60), random.IntN(60), random.IntN(1e6))
		for range 4 + random.IntN(16) {
			log.WriteString(words[random.IntN(len(words))] + " ")
		}
		fmt.Fprintf(&log, "\",\"id\":\"%016x%016x\",\"n\":%d}\n", random.Uint64(), random.Uint64(), random.IntN(1e6))
	}
	return log.Bytes()
}

func benchScanner(b *testing.B, s *Scanner, path string) {
	before := processorTime(b)
	for b.Loop() {
		file, err := os.Open(path)
		if err != nil {
			b.Fatal(err)
		}
		found, err := s.Scan(file)
		_ = file.Close()
		if err != nil || len(found) > 0 {
			b.Fatalf("found %v (%v)", found, err)
		}
	}
	rate(b, processorTime(b)-before)
}

// processorTime is what this process has used so far.
func processorTime(b *testing.B) time.Duration {
	var usage syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &usage); err != nil {
		b.Fatal(err)
	}
	return time.Duration(usage.Utime.Nano() + usage.Stime.Nano())
}

// benchCommand runs a program that is to find nothing (exit code 1), and counts
// the processor time that it took: its start is not left out, but small.
func benchCommand(b *testing.B, name string, args ...string) {
	if _, err := exec.LookPath(name); err != nil {
		b.Skipf("%s is not on this machine", name)
	}
	var used time.Duration
	for b.Loop() {
		cmd := exec.Command(name, args...)
		cmd.Env = append(os.Environ(), "LC_ALL=C")
		out, err := cmd.CombinedOutput()
		var exit *exec.ExitError
		if !errors.As(err, &exit) || exit.ExitCode() != 1 {
			b.Fatalf("%s: %v: %s", name, err, out)
		}
		used += cmd.ProcessState.UserTime() + cmd.ProcessState.SystemTime()
	}
	rate(b, used)
}

// rate reports bytes for each second of a core, as the last of the metrics.
func rate(b *testing.B, used time.Duration) {
	b.ReportMetric(float64(benchSize)*float64(b.N)/used.Seconds()/1e6, "MB/s-core")
}

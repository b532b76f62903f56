package main

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"io"
	"log/slog"
	"net"
	"strings"
	"sync"
	"testing"
	"time"
)

// board keeps the last counts that were printed.
type board struct {
	mu   sync.Mutex
	last rogueCounts
}

func (b *board) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return len(p), json.NewDecoder(bytes.NewReader(p)).Decode(&b.last)
}

// await returns the counts once they fit, or the last ones.
func (b *board) await(t *testing.T, fits func(rogueCounts) bool) rogueCounts {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	for {
		b.mu.Lock()
		last := b.last
		b.mu.Unlock()
		if fits(last) || ctx.Err() != nil {
			return last
		}
		<-time.After(5 * time.Millisecond)
	}
}

func startRogue(t *testing.T) (*rogue, *board, string) {
	t.Helper()
	b := &board{}
	r, err := newRogue(b)
	if err != nil {
		t.Fatal(err)
	}
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- r.serve(ctx, listener) }()
	t.Cleanup(func() {
		cancel()
		if err := <-ended; err != nil {
			t.Error(err)
		}
	})
	return r, b, listener.Addr().String()
}

func pool(t *testing.T, pem []byte) *x509.CertPool {
	t.Helper()
	p := x509.NewCertPool()
	if !p.AppendCertsFromPEM(pem) {
		t.Fatal("no certificate")
	}
	return p
}

// The positive control: whoever trusts the rogue is heard.
func TestRogueHearsAClientThatTrustsIt(t *testing.T) {
	r, b, address := startRogue(t)
	for name, config := range map[string]*tls.Config{
		"by its CA":       {RootCAs: pool(t, r.ca), ServerName: "localhost"},
		"unconditionally": {InsecureSkipVerify: true}, // what the check is there to find
	} {
		conn, err := tls.Dial("tcp", address, config)
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		if _, err := io.WriteString(conn, "a share"); err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		if err := conn.Close(); err != nil {
			t.Fatalf("%s: %v", name, err)
		}
	}
	got := b.await(t, func(c rogueCounts) bool { return c.Connections == 2 })
	if want := (rogueCounts{Connections: 2, Handshakes: 2, Completed: 2, ApplicationBytes: 14}); got != want {
		t.Errorf("counted %+v, want %+v", got, want)
	}
}

func TestRogueHearsNothingFromAClientThatVerifies(t *testing.T) {
	_, b, address := startRogue(t)
	other, err := newRogue(io.Discard)
	if err != nil {
		t.Fatal(err)
	}
	for _, version := range []uint16{tls.VersionTLS12, tls.VersionTLS13} {
		conn, err := tls.Dial("tcp", address, &tls.Config{RootCAs: pool(t, other.ca), ServerName: "localhost", MaxVersion: version})
		if err == nil {
			conn.Close()
			t.Fatal("another CA's certificate was accepted")
		}
	}
	got := b.await(t, func(c rogueCounts) bool { return c.Connections == 2 })
	if want := (rogueCounts{Connections: 2, Handshakes: 2}); got != want {
		t.Errorf("counted %+v, want %+v", got, want)
	}
}

func TestRogueHearsPlaintext(t *testing.T) {
	_, b, address := startRogue(t)
	conn, err := net.Dial("tcp", address)
	if err != nil {
		t.Fatal(err)
	}
	const request = "PUT /v1/sys/unseal HTTP/1.1\r\nHost: vault\r\n\r\n"
	if _, err := io.WriteString(conn, request); err != nil {
		t.Fatal(err)
	}
	if err := conn.Close(); err != nil {
		t.Fatal(err)
	}
	got := b.await(t, func(c rogueCounts) bool { return c.Connections == 1 })
	if want := (rogueCounts{Connections: 1, ApplicationBytes: int64(len(request))}); got != want {
		t.Errorf("counted %+v, want %+v", got, want)
	}
}

func TestRogueCommand(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	var out bytes.Buffer
	if err := pretend(ctx, slog.New(slog.DiscardHandler), &out, "127.0.0.1:0"); err != nil && !strings.Contains(err.Error(), "canceled") {
		t.Error(err)
	}
	if err := command(t.Context(), slog.New(slog.DiscardHandler), []string{"rogue", "-listen", "nowhere"}); err == nil {
		t.Error("an address that is none was listened at")
	}
}

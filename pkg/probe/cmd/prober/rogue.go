package main

import (
	"context"
	"crypto/tls"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"sync"
	"time"

	"github.com/vaultproof/vaultproof/pkg/issuer"
)

const (
	// rogueLife is how long the rogue's certificate is good: far longer than any
	// check.
	rogueLife = 24 * time.Hour
	// roguePatience is how long a connection may take, so that one which says
	// nothing is counted too.
	roguePatience = 5 * time.Second
)

// rogueCounts is what the rogue was sent, since it began.
type rogueCounts struct {
	Connections int `json:"connections"`
	// Handshakes counts the TLS handshakes that a client began, Completed those
	// in which it accepted the certificate.
	Handshakes int `json:"handshakes"`
	Completed  int `json:"completed"`
	// ApplicationBytes came after a completed handshake, or in clear. What they
	// were is not kept.
	ApplicationBytes int64 `json:"applicationBytes"`
}

// rogue listens where a Vault should be, with a certificate that nobody has
// reason to trust, and counts what it is sent.
type rogue struct {
	ca     []byte // PEM, for a client that trusts it all the same
	config *tls.Config
	out    io.Writer // gets the counts as a line of JSON each time they change

	mu     sync.Mutex
	counts rogueCounts
}

// newRogue makes a CA and a certificate of its own, with the names that a Vault
// on loopback has.
func newRogue(out io.Writer) (*rogue, error) {
	ca, err := issuer.NewCA("not the CA of this Vault", rogueLife)
	if err != nil {
		return nil, err
	}
	pair, err := ca.Server("localhost", []string{"localhost", "127.0.0.1"}, rogueLife)
	if err != nil {
		return nil, err
	}
	certificate, err := tls.X509KeyPair(pair.Cert, pair.Key)
	if err != nil {
		return nil, fmt.Errorf("loading the rogue's certificate: %w", err)
	}
	r := &rogue{ca: pair.CA, out: out}
	r.config = &tls.Config{
		MinVersion:   tls.VersionTLS12,
		Certificates: []tls.Certificate{certificate},
		GetConfigForClient: func(*tls.ClientHelloInfo) (*tls.Config, error) {
			return nil, r.add(rogueCounts{Handshakes: 1})
		},
	}
	return r, nil
}

// pretend listens at address until ctx is done and prints what it counts.
func pretend(ctx context.Context, log *slog.Logger, out io.Writer, address string) error {
	r, err := newRogue(out)
	if err != nil {
		return err
	}
	listener, err := (&net.ListenConfig{}).Listen(ctx, "tcp", address)
	if err != nil {
		return fmt.Errorf("listening as a rogue: %w", err)
	}
	log.Info("listening as a rogue", "address", address)
	return r.serve(ctx, listener)
}

func (r *rogue) serve(ctx context.Context, listener net.Listener) error {
	context.AfterFunc(ctx, func() { _ = listener.Close() })
	if err := r.add(rogueCounts{}); err != nil {
		return err
	}
	for {
		conn, err := listener.Accept()
		if ctx.Err() != nil {
			return nil
		}
		if err != nil {
			return fmt.Errorf("accepting a connection on %s: %w", listener.Addr(), err)
		}
		go r.take(ctx, conn)
	}
}

// take reads what comes on one connection. Every error is a client's way out.
func (r *rogue) take(ctx context.Context, raw net.Conn) {
	defer raw.Close()
	ctx, cancel := context.WithTimeout(ctx, roguePatience)
	defer cancel()
	_ = raw.SetDeadline(time.Now().Add(roguePatience))
	got := rogueCounts{Connections: 1}
	counted := &countedConn{Conn: raw}
	conn := tls.Server(counted, r.config)
	var plain tls.RecordHeaderError
	switch err := conn.HandshakeContext(ctx); {
	case err == nil:
		got.Completed = 1
		got.ApplicationBytes, _ = io.Copy(io.Discard, conn)
	case errors.As(err, &plain):
		_, _ = io.Copy(io.Discard, counted)
		got.ApplicationBytes = counted.read
	}
	_ = r.add(got)
}

// add sums up and prints.
func (r *rogue) add(more rogueCounts) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.counts.Connections += more.Connections
	r.counts.Handshakes += more.Handshakes
	r.counts.Completed += more.Completed
	r.counts.ApplicationBytes += more.ApplicationBytes
	if err := json.NewEncoder(r.out).Encode(r.counts); err != nil {
		return fmt.Errorf("printing what the rogue counted: %w", err)
	}
	return nil
}

// countedConn counts the bytes that were read.
type countedConn struct {
	net.Conn
	read int64
}

func (c *countedConn) Read(p []byte) (int, error) {
	n, err := c.Conn.Read(p)
	c.read += int64(n)
	return n, err
}

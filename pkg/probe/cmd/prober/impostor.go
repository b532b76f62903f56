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
	"net/http"
	"sync"
	"time"

	"github.com/vaultproof/vaultproof/pkg/issuer"
)

// impostorCounts is what an impostor was asked, since it began.
type impostorCounts struct {
	// Answered counts the requests of clients that took its certificate for good, Refused
	// the handshakes that did not come about.
	Answered int `json:"answered"`
	Refused  int `json:"refused"`
}

// impostor answers like a Vault in the best of health, with a certificate of a strange CA.
type impostor struct {
	ca  []byte    // PEM, for a client that trusts it all the same
	out io.Writer // gets the counts as a line of JSON each time they change

	mu     sync.Mutex
	counts impostorCounts
}

// healthy is what every request gets.
const healthy = `{"initialized":true,"sealed":false,"standby":true,"performance_standby":false,"version":"0.0.0","cluster_name":"impostor"}`

// impersonate listens at address until ctx is done and prints what it counts.
func impersonate(ctx context.Context, log *slog.Logger, out io.Writer, address string) error {
	listener, err := (&net.ListenConfig{}).Listen(ctx, "tcp", address)
	if err != nil {
		return fmt.Errorf("listening as an impostor: %w", err)
	}
	log.Info("listening as an impostor", "address", address)
	return (&impostor{out: out}).serve(ctx, listener)
}

func (i *impostor) serve(ctx context.Context, listener net.Listener) error {
	ca, err := issuer.NewCA("not the CA of this Vault", rogueLife)
	if err != nil {
		return err
	}
	pair, err := ca.Server("localhost", []string{"localhost", "127.0.0.1"}, rogueLife)
	if err != nil {
		return err
	}
	certificate, err := tls.X509KeyPair(pair.Cert, pair.Key)
	if err != nil {
		return fmt.Errorf("loading the impostor's certificate: %w", err)
	}
	i.ca = pair.CA
	if err := i.add(impostorCounts{}); err != nil {
		return err
	}
	server := &http.Server{
		TLSConfig:         &tls.Config{MinVersion: tls.VersionTLS12, Certificates: []tls.Certificate{certificate}},
		Handler:           http.HandlerFunc(i.answer),
		ReadHeaderTimeout: 5 * time.Second,
		// The server tells of a handshake that failed in no other way.
		ErrorLog: slog.NewLogLogger(refusals{i}, slog.LevelWarn),
	}
	context.AfterFunc(ctx, func() { _ = server.Close() })
	if err := server.ServeTLS(listener, "", ""); !errors.Is(err, http.ErrServerClosed) {
		return fmt.Errorf("serving as an impostor: %w", err)
	}
	return nil
}

func (i *impostor) answer(w http.ResponseWriter, _ *http.Request) {
	w.Header().Set("Content-Type", "application/json")
	_, _ = io.WriteString(w, healthy) // whoever asked may have gone
	_ = i.add(impostorCounts{Answered: 1})
}

// add sums up and prints.
func (i *impostor) add(more impostorCounts) error {
	i.mu.Lock()
	defer i.mu.Unlock()
	i.counts.Answered += more.Answered
	i.counts.Refused += more.Refused
	if err := json.NewEncoder(i.out).Encode(i.counts); err != nil {
		return fmt.Errorf("printing what the impostor counted: %w", err)
	}
	return nil
}

// refusals counts the handshakes that the server complains of.
type refusals struct{ of *impostor }

func (r refusals) Enabled(context.Context, slog.Level) bool { return true }
func (r refusals) Handle(context.Context, slog.Record) error {
	return r.of.add(impostorCounts{Refused: 1})
}
func (r refusals) WithAttrs([]slog.Attr) slog.Handler { return r }
func (r refusals) WithGroup(string) slog.Handler      { return r }

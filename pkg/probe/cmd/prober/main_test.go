package main

import (
	"context"
	"errors"
	"log/slog"
	"net"
	"testing"
	"time"
)

func TestConnectAndServe(t *testing.T) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	address := listener.Addr().String()
	_, port, _ := net.SplitHostPort(address)
	if err := listener.Close(); err != nil {
		t.Fatal(err)
	}
	log := slog.New(slog.DiscardHandler)
	if err := command(t.Context(), log, []string{"connect", address, "-timeout", "200ms"}); err == nil || errors.Is(err, errUsage) {
		t.Errorf("connecting to a closed port says %v, want a failure", err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- command(ctx, log, []string{"serve", "-tcp", port}) }()
	var connected error
	for range 100 {
		if connected = command(t.Context(), log, []string{"connect", "-timeout", "1s", address}); connected == nil {
			break
		}
		<-time.After(10 * time.Millisecond)
	}
	if connected != nil {
		t.Errorf("connecting to a port that is served: %v", connected)
	}
	if err := command(t.Context(), log, []string{"serve", "-tcp", port}); err == nil {
		t.Error("a port was served twice")
	}
	cancel()
	if err := <-done; err != nil {
		t.Errorf("serving ended with %v", err)
	}
}

func TestUsage(t *testing.T) {
	for _, args := range [][]string{nil, {"fly"}, {"connect"}, {"connect", "nowhere"}, {"connect", "a:1", "-timeout", "soon"}, {"run", "-x"}} {
		if err := command(t.Context(), slog.New(slog.DiscardHandler), args); !errors.Is(err, errUsage) {
			t.Errorf("%q says %v, want a usage error", args, err)
		}
	}
}

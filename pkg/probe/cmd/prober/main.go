// Command prober is the client that never stops: it runs in the cluster,
// sends load to Vault on a schedule and asks every pod what it thinks it is.
// It also connects and listens on demand, to see what a NetworkPolicy lets
// through, and stands in for a Vault that nobody should trust.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"os"
	"os/signal"
	"runtime/debug"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/vaultproof/vaultproof/pkg/probe/internal/agent"
	"github.com/vaultproof/vaultproof/pkg/probe/internal/load"
	"github.com/vaultproof/vaultproof/pkg/probe/internal/wire"
)

const usage = `usage: prober COMMAND
  run                            serve the control API on 127.0.0.1:7070
  serve -tcp PORT[,PORT...]      accept TCP connections and say "ok"
  connect HOST:PORT [-timeout D] exit 0 if a TCP connection opens in time, else 1
  matrix [-timeout D] [-patience D] WANT=HOST:PORT...
                                 open each connection that is wanted open, then try those
                                 wanted shut, and print as JSON how each was found; WANT
                                 is open, shut or try
  rogue [-listen HOST:PORT]      take TLS connections with a certificate of a strange
                                 CA and print, as JSON, how much was sent
  impostor [-listen HOST:PORT]   answer like a healthy Vault, with such a certificate, and
                                 print, as JSON, how often
  capture -ip ADDRESS -find NAME=TEXT...
                                 print, as JSON, how much passes to and from a pod of this
                                 node, and how often each text does in clear
  sleep                          wait for a signal`

// Exit codes.
const (
	exitFailed = 1
	exitUsage  = 2
)

// errUsage marks errors of whoever typed the command.
var errUsage = errors.New("usage")

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGINT, syscall.SIGTERM)
	defer stop()
	log := slog.New(slog.NewJSONHandler(os.Stderr, nil))
	err := command(ctx, log, os.Args[1:])
	switch {
	case errors.Is(err, errUsage):
		fmt.Fprintf(os.Stderr, "%v\n%s\n", err, usage)
		os.Exit(exitUsage)
	case err != nil:
		log.Error("prober failed", "error", err.Error())
		os.Exit(exitFailed)
	}
}

func command(ctx context.Context, log *slog.Logger, args []string) error {
	if len(args) == 0 {
		return fmt.Errorf("%w: a command is missing", errUsage)
	}
	name, args := args[0], args[1:]
	if name == "matrix" { // it has many addresses
		return matrix(ctx, os.Stdout, args)
	}
	if name == "capture" { // it has many texts
		return capture(ctx, os.Stdout, args)
	}
	flags := flag.NewFlagSet(name, flag.ContinueOnError)
	ports := flags.String("tcp", "8080", "")
	timeout := flags.Duration("timeout", time.Second, "")
	listen := flags.String("listen", "127.0.0.1:8200", "")
	flags.Usage = func() {}
	// The address may come before or after the flags.
	address := ""
	if len(args) > 0 && !strings.HasPrefix(args[0], "-") {
		address, args = args[0], args[1:]
	}
	if err := flags.Parse(args); err != nil {
		return fmt.Errorf("%w: %w", errUsage, err)
	}
	if address == "" {
		address = flags.Arg(0)
	}
	switch name {
	case "run":
		return run(ctx, log)
	case "serve":
		return serve(ctx, log, strings.Split(*ports, ","))
	case "connect":
		return connect(ctx, address, *timeout)
	case "rogue":
		return pretend(ctx, log, os.Stdout, *listen)
	case "impostor":
		return impersonate(ctx, log, os.Stdout, *listen)
	case "sleep":
		<-ctx.Done()
		return nil
	default:
		return fmt.Errorf("%w: %q is no command", errUsage, name)
	}
}

// memoryLimit is from where on memory is collected however often it takes: the pod
// may have a gigabyte (podManifest).
const memoryLimit = 768 << 20

// run serves the control API until ctx is done.
func run(ctx context.Context, log *slog.Logger) error {
	debug.SetGCPercent(load.GCPercent)
	debug.SetMemoryLimit(memoryLimit)
	listener, err := (&net.ListenConfig{}).Listen(ctx, "tcp", net.JoinHostPort("127.0.0.1", strconv.Itoa(wire.Port)))
	if err != nil {
		return fmt.Errorf("listening for the control API: %w", err)
	}
	server := &http.Server{
		Handler:           agent.New(ctx, log).Handler(),
		ReadHeaderTimeout: 5 * time.Second,
		BaseContext:       func(net.Listener) context.Context { return ctx },
	}
	context.AfterFunc(ctx, func() { _ = server.Close() })
	log.Info("ready", "address", listener.Addr().String())
	if err := server.Serve(listener); !errors.Is(err, http.ErrServerClosed) {
		return fmt.Errorf("serving the control API: %w", err)
	}
	return nil
}

// serve accepts connections on every port until ctx is done.
func serve(ctx context.Context, log *slog.Logger, ports []string) error {
	failed := make(chan error, len(ports))
	for _, port := range ports {
		listener, err := (&net.ListenConfig{}).Listen(ctx, "tcp", ":"+port)
		if err != nil {
			return fmt.Errorf("listening on port %s: %w", port, err)
		}
		context.AfterFunc(ctx, func() { _ = listener.Close() })
		log.Info("listening", "port", port)
		go func() { failed <- accept(ctx, listener) }()
	}
	select {
	case <-ctx.Done():
		return nil
	case err := <-failed:
		return err
	}
}

func accept(ctx context.Context, listener net.Listener) error {
	for {
		conn, err := listener.Accept()
		if ctx.Err() != nil {
			return nil
		}
		if err != nil {
			return fmt.Errorf("accepting a connection on %s: %w", listener.Addr(), err)
		}
		go func() {
			defer conn.Close()
			_ = conn.SetDeadline(time.Now().Add(time.Second))
			_, _ = conn.Write([]byte("ok\n")) // whoever connected may have gone
		}()
	}
}

// connect opens one TCP connection.
func connect(ctx context.Context, address string, timeout time.Duration) error {
	if _, _, err := net.SplitHostPort(address); err != nil {
		return fmt.Errorf("%w: connect wants HOST:PORT, got %q", errUsage, address)
	}
	conn, err := (&net.Dialer{Timeout: timeout}).DialContext(ctx, "tcp", address)
	if err != nil {
		return fmt.Errorf("connecting to %s: %w", address, err)
	}
	return conn.Close()
}

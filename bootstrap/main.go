// Command bootstrap is the sidecar in every Vault pod. It initialises Vault
// exactly once, keeps its keys in custody, unseals its own pod, provisions
// policies and the provisioner token, and says at any time what it waits for.
// How it decides is written down in package machine.
//
// "bootstrap handover" is its preStop hook: it makes an active Vault hand its
// leadership over before it is stopped.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"log/slog"
	"os"
	"os/signal"
	"sync"
	"syscall"
	"time"

	"github.com/vaultproof/vaultproof/bootstrap/handover"
	"github.com/vaultproof/vaultproof/bootstrap/machine"
	"github.com/vaultproof/vaultproof/bootstrap/sidecar"
	"github.com/vaultproof/vaultproof/bootstrap/status"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM, os.Interrupt)
	defer stop()
	if len(os.Args) > 1 && os.Args[1] == "handover" {
		log := handover.PodLog()
		err := handOver(ctx, os.Args[2:], log)
		_ = log.Close()
		if err != nil {
			// Standard error and the exit code end up in an event of the pod.
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		return
	}
	if err := run(ctx, os.Args[1:], os.Stdout); err != nil {
		if errors.Is(err, flag.ErrHelp) {
			os.Exit(2)
		}
		slog.New(slog.NewJSONHandler(os.Stderr, nil)).Error("the bootstrap sidecar cannot run", "error", err.Error())
		os.Exit(1)
	}
}

// run works until ctx ends, which is no error. It logs to out.
func run(ctx context.Context, args []string, out io.Writer) error {
	c, err := parse(args, os.LookupEnv)
	if err != nil {
		return err
	}
	log := slog.New(slog.NewJSONHandler(out, &slog.HandlerOptions{Level: c.logLevel}))
	// Of an earlier life of this container in the same pod.
	if err := (handover.Files{Done: c.handoverDone}).Clear(); err != nil {
		log.Warn("a stop of this pod may not wait for the handover of leadership", "pod", c.pod, "error", err.Error())
	}
	o, closeCustody, err := c.options(ctx, log)
	if err != nil {
		return err
	}
	defer closeCustody()

	board := status.NewBoard(c.pod)
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	// Status is served until the machine has ended, keys in hand included.
	serving, endServing := context.WithCancel(context.WithoutCancel(ctx))
	var wg sync.WaitGroup
	wg.Go(func() {
		if err := status.Serve(serving, c.listen, c.tlsCert, c.tlsKey, board.Handler(), log); err != nil {
			cancel(err)
		}
	})
	log.Info("bootstrap sidecar started", "pod", c.pod, "vault", c.vaultAddr, "custodyEndpoint", c.custodyEndpoint, "custodyProject", c.custodyProject, "prefix", c.prefix)
	s := sidecar.New(o)
	defer s.Close()
	machine.Run(ctx, s, c.stopGrace, func(t machine.Turn) {
		if t.News {
			transition(ctx, log, c.pod, t)
		}
		board.Set(show(s, c.pod, t), s.Holding())
	}, func(t machine.Turn) { board.Set(show(s, c.pod, t), s.Holding()) })
	endServing()
	wg.Wait()
	if s.Holding() {
		return errors.New("told to stop while keys of a freshly initialised Vault had not reached custody, and the grace period was not enough to store them: this Vault was never opened, see /status of the next sidecar for how to begin afresh")
	}
	if err := context.Cause(ctx); err != nil && !errors.Is(err, context.Canceled) {
		return err
	}
	log.Info("bootstrap sidecar stopped", "pod", c.pod)
	return nil
}

// show turns a turn into what /status tells.
func show(s *sidecar.Sidecar, pod string, t machine.Turn) status.Status {
	return status.Status{
		State:             string(t.Decision.State),
		Why:               t.Decision.Text,
		NextRetry:         time.Now().Add(t.Wait).UTC(),
		Pod:               pod,
		Role:              string(t.Facts.Role),
		Answers:           t.Facts.Answers,
		Sealed:            t.Facts.Sealed,
		Initialised:       t.Facts.Initialised,
		Provisioned:       t.Facts.Provisioned,
		Ready:             s.Ready(),
		LastUnsealSeconds: s.LastUnseal().Seconds(),
	}
}

// transition logs the one line of a transition, loud enough for what it says.
func transition(ctx context.Context, log *slog.Logger, pod string, t machine.Turn) {
	level := slog.LevelInfo
	switch {
	case t.Decision.State == machine.Blocked:
		level = slog.LevelError
	case t.Decision.Troubled():
		level = slog.LevelWarn
	}
	log.Log(ctx, level, fmt.Sprintf("state %s", t.Decision.State), "pod", pod, "reason", t.Decision.Name, "why", t.Decision.Text)
}

// Command bootstrap is the sidecar in every Vault pod. It initialises Vault
// exactly once, keeps its keys in custody, unseals its own pod, provisions
// policies and tokens, takes snapshots, and says at any time what it waits for.
// How it decides is written down in package machine.
//
// "bootstrap handover" is its preStop hook: it makes an active Vault hand its
// leadership over before it is stopped. "bootstrap break-glass" makes a root
// token with the shares in custody, and "bootstrap restore" brings a snapshot up in
// an empty cluster. "bootstrap version" prints a hash of the sources.
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
	"strings"
	"sync"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"github.com/vaultproof/vaultproof/bootstrap/breakglass"
	"github.com/vaultproof/vaultproof/bootstrap/handover"
	"github.com/vaultproof/vaultproof/bootstrap/machine"
	"github.com/vaultproof/vaultproof/bootstrap/restore"
	"github.com/vaultproof/vaultproof/bootstrap/sidecar"
	"github.com/vaultproof/vaultproof/bootstrap/status"
	"github.com/vaultproof/vaultproof/bootstrap/storage"
)

// buildID is a hash of the sources this was built from; builds that differ by
// their tags alone share it. The linker sets it.
var buildID = "unknown"

func main() {
	// A core dump would hold the keys.
	if err := unix.Setrlimit(unix.RLIMIT_CORE, &unix.Rlimit{}); err != nil {
		fmt.Fprintln(os.Stderr, "core dumps cannot be turned off:", err)
		os.Exit(1)
	}
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM, os.Interrupt)
	defer stop()
	if err := dispatch(ctx, os.Args[1:]); err != nil {
		if errors.Is(err, flag.ErrHelp) {
			os.Exit(2)
		}
		if subcommand(os.Args[1:]) != "" {
			// For people: what a preStop hook writes here ends up in an event of the pod.
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		slog.New(slog.NewJSONHandler(os.Stderr, nil)).Error("the bootstrap sidecar cannot run", "error", err.Error())
		os.Exit(1)
	}
}

// dispatch runs the subcommand that the arguments begin with, or the sidecar.
func dispatch(ctx context.Context, args []string) error {
	switch subcommand(args) {
	case "handover":
		log := handover.PodLog()
		defer log.Close()
		return handOver(ctx, args[1:], log)
	case "break-glass":
		return breakglass.Main(ctx, args[1:], os.LookupEnv, slog.New(slog.NewJSONHandler(os.Stdout, nil)))
	case "restore":
		return restore.Main(ctx, args[1:], os.LookupEnv, slog.New(slog.NewJSONHandler(os.Stdout, nil)))
	case "version":
		_, err := fmt.Println(buildID)
		return err
	}
	err := run(ctx, args, os.Stdout)
	if errors.Is(err, errShed) {
		return shed(ctx, slog.New(slog.NewJSONHandler(os.Stdout, nil)))
	}
	return err
}

// subcommand is the first argument, unless that is a flag.
func subcommand(args []string) string {
	if len(args) == 0 || strings.HasPrefix(args[0], "-") {
		return ""
	}
	return args[0]
}

// run works until ctx ends, which is no error, or ends with errShed. It logs to out.
func run(ctx context.Context, args []string, out io.Writer) error {
	c, err := parse(args, os.LookupEnv)
	if err != nil {
		return err
	}
	log := slog.New(slog.NewJSONHandler(out, &slog.HandlerOptions{Level: c.logLevel}))
	past, again, err := resumed(os.LookupEnv)
	if err != nil {
		return err
	}
	// Of an earlier life of this container in the same pod. One of this process is
	// not over: its handover may be under way.
	if again {
		log.Debug("going on with fresh memory", "pod", c.pod)
	} else if err := (handover.Files{Done: c.handoverDone}).Clear(); err != nil {
		log.Warn("a stop of this pod may not wait for the handover of leadership", "pod", c.pod, "error", err.Error())
	}
	board := status.NewBoard(c.pod)
	secrets := &skin{after: c.shedAfter}
	p, err := c.connect(ctx, board, secrets.touch, log)
	if err != nil {
		return err
	}
	defer p.close()

	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	// Status is served and labels are carried until the machine has ended, keys in
	// hand included.
	serving, endServing := context.WithCancel(context.WithoutCancel(ctx))
	var wg sync.WaitGroup
	wg.Go(func() {
		if err := status.Serve(serving, c.listen, c.tlsCert, c.tlsKey, board.Handler(), log); err != nil {
			cancel(err)
		}
	})
	log.Info("bootstrap sidecar started", "pod", c.pod, "vault", c.VaultAddr, "custodyEndpoint", c.Endpoint, "custodyProject", c.Project, "prefix", c.Prefix)
	if p.registrar != nil {
		wg.Go(func() {
			if err := c.listenToVault(serving, p.registrar); err != nil {
				cancel(err)
			}
		})
	}
	if p.fence != nil {
		wg.Go(func() { p.fence.Run(serving) })
	}
	if p.taker != nil {
		wg.Go(func() { p.taker.Run(ctx) })
	}
	p.sidecar.Resume = past
	s := sidecar.New(p.sidecar)
	defer s.Close()
	machine.Run(ctx, s, c.stopGrace, func(t machine.Turn) {
		if t.News {
			transition(ctx, log, c.pod, t)
		}
		if p.fence != nil {
			p.fence.Role(t.Facts.Role == machine.Active)
		}
		if p.taker != nil {
			p.taker.Role(worthTaking(t.Facts))
		}
		board.Set(show(s, c.pod, t), s.Holding())
	}, func(t machine.Turn) {
		board.Set(show(s, c.pod, t), s.Holding())
		busy := board.Pending() || (p.taker != nil && p.taker.Busy())
		if !busy && secrets.due(t, time.Now()) {
			cancel(errShed)
		}
	})
	cancel(nil)
	if p.registrar != nil {
		c.lastWords(serving, p.registrar)
	}
	endServing()
	wg.Wait()
	if s.Holding() {
		return errors.New("told to stop while keys of a freshly initialised Vault had not reached custody, and the grace period was not enough to store them: this Vault was never opened, see /status of the next sidecar for how to begin afresh")
	}
	switch err := context.Cause(ctx); {
	case errors.Is(err, errShed):
		return errors.Join(handOn(s.Resume()), err)
	case err != nil && !errors.Is(err, context.Canceled):
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
		Restore:           t.Facts.Fresh == storage.Restore,
		LastUnsealSeconds: s.LastUnseal().Seconds(),
		Hold:              hold(t),
	}
}

// hold is the reason why Vault is left sealed, if it is.
func hold(t machine.Turn) string {
	switch {
	case t.Decision.State != machine.Held:
		return ""
	case t.Facts.Hold == "":
		return "(no reason given)"
	}
	return t.Facts.Hold
}

// transition logs the one line of a transition, loud enough for what it says.
func transition(ctx context.Context, log *slog.Logger, pod string, t machine.Turn) {
	level := slog.LevelInfo
	switch {
	case t.Decision.State == machine.Blocked:
		level = slog.LevelError
	case t.Decision.State == machine.Rebuilding, t.Decision.State == machine.Held, t.Decision.Troubled():
		level = slog.LevelWarn
	}
	log.Log(ctx, level, fmt.Sprintf("state %s", t.Decision.State), "pod", pod, "reason", t.Decision.Name, "why", t.Decision.Text)
}

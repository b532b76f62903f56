package main

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"os"

	"github.com/vaultproof/vaultproof/bootstrap/handover"
	"github.com/vaultproof/vaultproof/bootstrap/keys"
)

// handOver is the subcommand that the kubelet runs before it stops the pod. It
// takes the sidecar's flags and environment, and logs one line to out. The
// error is what the kubelet shows as an event; the end is told to Vault's hook
// in every case, because nothing may hold a stop up.
func handOver(ctx context.Context, args []string, out io.Writer) (err error) {
	c, err := parse(args, os.LookupEnv)
	log := slog.New(slog.NewJSONHandler(out, &slog.HandlerOptions{Level: c.logLevel}))
	files := handover.Files{Done: c.handoverDone}
	said := ""
	defer func() {
		if err = errors.Join(err, files.End()); err != nil {
			log.Error("handover before the stop failed; Vault gives its leadership up as it stops, which may take a few seconds", "pod", c.pod, "error", err.Error())
			return
		}
		log.Info("handover before the stop", "pod", c.pod, "result", said)
	}()
	if err != nil {
		return err
	}
	if err = files.Begin(); err != nil {
		return err
	}
	own, err := c.Vault()
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, handover.Budget+handover.Settle)
	defer cancel()
	secret := (&keys.Ring{Prefix: c.Prefix}).Handover()
	said, err = (&handover.Handover{Vault: own, Secret: secret, Stopping: files.Stopping, Settle: handover.Settle,
		// Custody is only asked by the pod that is active.
		Token: func(ctx context.Context) ([]byte, error) {
			store, err := c.Custody(ctx)
			if err != nil {
				return nil, err
			}
			defer store.Close()
			return (&keys.Ring{Store: store, Prefix: c.Prefix}).Get(ctx, secret)
		}}).Run(ctx)
	return err
}

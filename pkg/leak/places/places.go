// Package places searches every place of a running target for its secrets: all
// objects of all API groups, the logs of all containers, termination messages,
// the files of runs and, where somebody gives access to them, the disks of nodes
// with etcd's files among them.
package places

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"slices"
	"time"

	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"

	"github.com/vaultproof/vaultproof/pkg/kube"
	"github.com/vaultproof/vaultproof/pkg/leak"
	"github.com/vaultproof/vaultproof/pkg/target"
)

// Options say where to search for what.
type Options struct {
	// Target is the Vault whose secrets are searched for, in its whole cluster.
	Target *target.Target
	// Needles are searched for besides those that custody holds.
	Needles []leak.Needle
	// Dirs are directories of files, like that of the runs' artifacts.
	Dirs []string
	// Disks gives the disks of nodes; nil means that nobody does.
	Disks Disks
	// Paths on the nodes' disks; DefaultPaths if there are none.
	Paths []string
	// Sources are further places.
	Sources []Source
	// Plant has a secret of the search's own put into objects, an event, and the
	// log and the termination message of a pod, and taken away in the end. What is
	// not found of it fails the search, on the nodes' disks too if DefaultPaths are
	// searched there: ErrControl.
	Plant bool
}

// Source is one kind of place.
type Source struct {
	Name string
	// Each calls visit with every item. An error of visit has to be returned; any
	// other one means that a part of the place was not searched.
	Each func(ctx context.Context, visit Visit) error
}

// Visit searches one item. Its name is what findings say: "secrets/vault/tls".
type Visit func(item string, content io.Reader) error

// Scan searches all places. What cannot be searched is in the report with the
// reason; an error means that the report cannot be relied on, because the scanner
// missed what was planted, or that nothing could be done at all.
func Scan(ctx context.Context, opts Options) (leak.Report, error) {
	report := leak.Report{Started: time.Now()}
	needles, err := secrets(ctx, opts)
	if err != nil {
		return report, err
	}
	report.Needles = len(needles)
	var planted *control
	if opts.Plant {
		if planted, err = newControl(opts); err != nil {
			return report, err
		}
		needles = append(needles, planted.needle)
	}
	scanner, err := leak.New(needles...)
	if err != nil {
		return report, fmt.Errorf("preparing to look for secrets: %w", err)
	}
	if err := scanner.SelfTest(); err != nil {
		return report, fmt.Errorf("the scanner failed its positive control: %w", err)
	}
	if planted != nil {
		defer planted.remove(context.WithoutCancel(ctx))
		if err := planted.plant(ctx); err != nil {
			return report, err
		}
	}
	all, err := sources(opts)
	if err != nil {
		return report, err
	}
	for _, s := range all {
		if err := search(ctx, &report, scanner, s); err != nil {
			return report, err
		}
	}
	report.Ended = time.Now()
	if planted != nil {
		return report, planted.judge(&report)
	}
	return report, nil
}

// secrets are all that is searched for.
func secrets(ctx context.Context, opts Options) ([]leak.Needle, error) {
	if opts.Target == nil {
		return nil, errors.New("there is no target to search for secrets: give one")
	}
	needles := slices.Clone(opts.Needles)
	inCustody, err := opts.Target.Needles(ctx)
	if err != nil && (len(needles) == 0 || !errors.Is(err, target.ErrNoCustody)) {
		return nil, fmt.Errorf("learning what to search for: %w", err)
	}
	return append(needles, inCustody...), nil
}

// sources are all places, those that cannot be searched included.
func sources(opts Options) ([]Source, error) {
	config := kube.Fast(rest.CopyConfig(opts.Target.Config))
	client, err := kubernetes.NewForConfig(config)
	if err != nil {
		return nil, fmt.Errorf("making a client for %s: %w", config.Host, err)
	}
	list := []Source{objects(client), terminations(client), logs(client)}
	for _, dir := range opts.Dirs {
		list = append(list, files(dir))
	}
	return append(append(list, disks(client, opts)...), opts.Sources...), nil
}

// search goes through one kind of place. The first item is searched with the
// positive control before it.
func search(ctx context.Context, report *leak.Report, scanner *leak.Scanner, s Source) error {
	place := leak.Place{Name: s.Name}
	started, before := time.Now(), len(report.Findings)
	var failed error // of the scanner, not of the place
	var missing []error
	controlled := false
	err := s.Each(ctx, func(item string, content io.Reader) error {
		var found []leak.Finding
		var err error
		counted := &counter{Reader: content}
		if controlled {
			found, err = scanner.Scan(counted)
		} else {
			found, _, err = scanner.ScanPlace(item, counted)
			controlled = counted.err == nil
		}
		for i := range found {
			found[i].Place = item
		}
		report.Findings = append(report.Findings, found...)
		place.Bytes += counted.size
		switch {
		case err == nil:
		case counted.err != nil: // the item could not be read to its end
			missing = append(missing, fmt.Errorf("%s: %w", item, err))
		default:
			failed = err
			return err
		}
		return ctx.Err()
	})
	if failed != nil {
		return fmt.Errorf("searching %s: %w", s.Name, failed)
	}
	if ctx.Err() != nil {
		return fmt.Errorf("searching %s: %w", s.Name, ctx.Err())
	}
	if err = errors.Join(append(missing, err)...); err != nil {
		place.Unseen = err.Error()
		slog.Warn("a place was not searched, or not all of it", "place", s.Name, "reason", place.Unseen)
	}
	report.Places = append(report.Places, place)
	slog.Info("searched", "place", s.Name, "bytes", place.Bytes, "findings", len(report.Findings)-before, "took", time.Since(started).Round(time.Millisecond).String())
	return nil
}

// counter counts what is read, and keeps the error of reading.
type counter struct {
	io.Reader
	size int64
	err  error
}

// Read implements io.Reader.
func (c *counter) Read(p []byte) (int, error) {
	n, err := c.Reader.Read(p)
	c.size += int64(n)
	if err != nil && !errors.Is(err, io.EOF) {
		c.err = err
	}
	return n, err
}

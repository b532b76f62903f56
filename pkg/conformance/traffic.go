package conformance

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"path/filepath"
	"time"

	"k8s.io/apimachinery/pkg/util/wait"

	"github.com/vaultproof/vaultproof/pkg/history"
	"github.com/vaultproof/vaultproof/pkg/leak"
	"github.com/vaultproof/vaultproof/pkg/probe"
	"github.com/vaultproof/vaultproof/pkg/target"
)

// HistoryFile holds every operation of the load, in the run's directory.
const HistoryFile = history.File

// lateness is how long after it happened an operation may reach the timeline:
// its timeout, and the poll of the prober.
const lateness = 3 * time.Second

// outsidePatience is how long the last state of what was written from outside may
// take to be read.
const outsidePatience = 15 * time.Second

// Traffic is the load on Vault through its active Service, which goes on for
// the whole run, the one past the Service and from outside, and the watch on labels
// and endpoints beside it.
type Traffic struct {
	prober  *probe.Prober
	outside *probe.Outside // nil where nothing leads to Vault from outside
	watch   *probe.Watcher
	access  *provisioned
	target  *target.Target
	dir     string

	settled bool // Final has ended the load
}

// startTraffic starts the load at its first call. Checks share it: each fault
// hits clients that were there before.
func (s *session) startTraffic(ctx context.Context) (*Traffic, error) {
	s.trafficOnce.Do(func() { s.traffic, s.trafficErr = s.newTraffic(ctx) })
	return s.traffic, s.trafficErr
}

func (s *session) newTraffic(ctx context.Context) (_ *Traffic, err error) {
	if s.target.Plaintext {
		return nil, errors.New("TLS is off (see TLS-05), and the load speaks nothing else")
	}
	if len(s.target.CA) == 0 {
		return nil, errors.New("the target publishes no CA (ConfigMap vault-ca, key ca.crt), so that the load cannot verify Vault")
	}
	pods, err := s.target.Pods(ctx)
	if err != nil {
		return nil, err
	}
	addresses := map[string]string{}
	var names []string
	var ways []probe.Way
	for _, p := range pods {
		addresses[p.Name] = p.Status.PodIP
		names = append(names, p.Name)
		ways = append(ways, probe.Way{Route: p.Name, Pod: p.Name, Rate: podRate})
	}
	access, err := provision(ctx, s.target)
	if err != nil {
		return nil, err
	}
	s.keepSecret(leak.Needle{Name: "load-token", Value: []byte(access.token)})
	for _, what := range access.leftOut {
		slog.Warn("a part of the load is left out", "reason", what)
	}
	mix := trafficMix(access.engines)
	t := &Traffic{access: access, target: s.target, dir: s.dir}
	defer func() {
		if err != nil {
			err = errors.Join(err, t.close(context.WithoutCancel(ctx)))
		}
	}()
	t.prober, err = probe.Start(ctx, s.target.Config, probe.Options{
		RunID:      s.runID,
		Address:    s.target.Address(),
		ServerName: s.target.ServerName,
		CA:         s.target.CA, Token: access.token, Mount: probeName,
		Rate: mix.Total(), Mix: mix, Engines: access.engines, Ways: ways,
		Seed: uint64(s.seed), Pods: addresses, Log: s.log,
	})
	if err != nil {
		return nil, fmt.Errorf("starting the load: %w", err)
	}
	if err := t.startOutside(ctx, names, uint64(s.seed)); err != nil {
		slog.Warn("a part of the load is left out", "reason", err.Error())
	}
	t.watch, err = probe.Watch(ctx, s.target.Client, probe.WatchOptions{
		Namespace: s.target.Namespace, Selector: s.target.Selector.String() + ",!" + target.RunLabel,
		Services: []string{s.target.ActiveService}, Log: s.log, OnPods: t.prober.SetPods,
	})
	if err != nil {
		return nil, fmt.Errorf("starting to watch labels and endpoints: %w", err)
	}
	return t, nil
}

// podRate is how many operations a second go to each pod past the Service.
const podRate = 0.5

// trafficMix is what the load consists of, as operations a second: registers above
// all, by which outages are timed, and of each other kind as little as shows what a fault
// does to it: one token or lease costs Vault as much as many writes to a register.
func trafficMix(engines probe.Engines) probe.Mix {
	mix := probe.Mix{Registers: probe.DefaultRate, Journals: 2, Tokens: 0.5}
	if engines.Transit != "" {
		mix.Transit = 1
	}
	if engines.SSH != "" {
		mix.Leases = 0.5
	}
	return mix
}

// Rate is how many operations on registers are due in a second through the Service:
// those that outages are computed from.
func (t *Traffic) Rate() float64 { return t.prober.Rate() }

// Ops are the operations on registers through the Service that have ended so far.
func (t *Traffic) Ops() []history.Op { return t.prober.Ops() }

// Operations are all that have ended so far, of every kind and on every way, in the
// order in which they ended on each.
func (t *Traffic) Operations() []probe.Operation {
	ops := t.prober.Operations()
	if t.outside != nil {
		ops = append(ops, t.outside.Operations()...)
	}
	return ops
}

// Latencies are those of every kind on every way, before, during and after a fault.
func (t *Traffic) Latencies(span probe.Span) []probe.Around {
	ops := t.prober.Between(span.Start, span.End)
	if t.outside != nil {
		ops = append(ops, t.outside.Between(span.Start, span.End)...)
	}
	return probe.Latencies(ops, span)
}

// Flow lets the load flow for d.
func (t *Traffic) Flow(ctx context.Context, d time.Duration) error {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return t.prober.Err()
	case <-ctx.Done():
		return fmt.Errorf("letting the load flow for %s: %w", d, ctx.Err())
	}
}

// Caught waits until all that happened up to now is in the timeline.
func (t *Traffic) Caught(ctx context.Context) error { return t.Flow(ctx, lateness) }

// WriteTo tries to write to one pod itself, past the Service, with the token of
// the load. A nil error means that the pod acknowledged the write.
func (t *Traffic) WriteTo(ctx context.Context, pod, key string) error {
	client, closeClient, err := t.target.Pod(ctx, pod)
	if err != nil {
		return err
	}
	defer closeClient()
	client.SetToken(t.access.token)
	_, err = client.Logical().WriteWithContext(ctx, probeName+"/data/"+key, map[string]any{
		"data": map[string]any{"at": time.Now().UTC().Format(time.RFC3339Nano)},
	})
	return err
}

// Final ends the load, saves the history of every kind and way, and reads the last
// state of every key and journal.
func (t *Traffic) Final(ctx context.Context) ([]history.Op, history.Final, error) {
	t.settled = true
	final, err := t.prober.Final(ctx)
	if err != nil {
		return nil, history.Final{}, err
	}
	if err := t.finishOutside(ctx, &final); err != nil {
		slog.Warn("what was written from outside the cluster is not judged", "reason", err.Error())
	}
	if err := t.Caught(ctx); err != nil {
		return nil, history.Final{}, err
	}
	ops := t.all()
	// Evidence first: it must be there whatever becomes of the judgement.
	if err := t.save(ops); err != nil {
		return nil, history.Final{}, err
	}
	return ops, final, nil
}

// all is the history of every kind and way.
func (t *Traffic) all() []history.Op {
	operations := t.Operations()
	ops := make([]history.Op, len(operations))
	for i, o := range operations {
		ops[i] = o.Op
	}
	return ops
}

// finishOutside ends the load from outside and adds what it left to final. If that
// cannot be read, the way in is broken and not Vault: its operations are left out,
// as nothing can be said of them.
func (t *Traffic) finishOutside(ctx context.Context, final *history.Final) error {
	if t.outside == nil {
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, outsidePatience)
	defer cancel()
	left, err := t.outside.Final(ctx)
	if err != nil {
		t.outside = nil
		return err
	}
	maps.Copy(final.Registers, left.Registers)
	return nil
}

func (t *Traffic) save(ops []history.Op) error {
	if err := history.Save(filepath.Join(t.dir, HistoryFile), ops); err != nil {
		return fmt.Errorf("saving what the clients saw: %w", err)
	}
	return nil
}

// stopTraffic ends the load and removes what it had in Vault.
func (s *session) stopTraffic(ctx context.Context) error {
	if s.traffic == nil {
		return nil
	}
	return s.traffic.close(ctx)
}

func (t *Traffic) close(ctx context.Context) error {
	var errs []error
	if t.watch != nil {
		t.watch.Stop()
	}
	if t.outside != nil {
		t.outside.Stop()
	}
	if t.prober != nil {
		stop, cancel := context.WithTimeout(ctx, 30*time.Second)
		errs = append(errs, t.prober.Stop(stop), t.save(t.all()))
		cancel()
	}
	// The active pod may just be changing.
	remove, cancel := context.WithTimeout(ctx, unmountTimeout)
	defer cancel()
	var last error
	err := wait.PollUntilContextCancel(remove, time.Second, true, func(ctx context.Context) (bool, error) {
		err := t.access.remove(ctx)
		if ctx.Err() == nil || last == nil {
			last = err // what went wrong, rather than that time was over while trying again
		}
		return err == nil, nil
	})
	if err != nil {
		errs = append(errs, fmt.Errorf("removing what the load had in Vault: %w", errors.Join(err, last)))
	}
	return errors.Join(errs...)
}

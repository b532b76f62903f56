package conformance

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"time"

	"k8s.io/apimachinery/pkg/util/wait"

	"github.com/vaultproof/vaultproof/pkg/history"
	"github.com/vaultproof/vaultproof/pkg/leak"
	"github.com/vaultproof/vaultproof/pkg/probe"
	"github.com/vaultproof/vaultproof/pkg/target"
)

// HistoryFile holds every operation of the load, in the run's directory.
const HistoryFile = "history.ndjson"

// lateness is how long after it happened an operation may reach the timeline:
// its timeout, and the poll of the prober.
const lateness = 3 * time.Second

// Traffic is the load on Vault through its active Service, which goes on for
// the whole run, and the watch on labels and endpoints beside it.
type Traffic struct {
	prober *probe.Prober
	watch  *probe.Watcher
	access *provisioned
	target *target.Target
	dir    string

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
	for _, p := range pods {
		addresses[p.Name] = p.Status.PodIP
	}
	access, err := provision(ctx, s.target)
	if err != nil {
		return nil, err
	}
	s.keepSecret(leak.Needle{Name: "load-token", Value: []byte(access.token)})
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
		Seed: uint64(s.seed), Pods: addresses, Log: s.log,
	})
	if err != nil {
		return nil, fmt.Errorf("starting the load: %w", err)
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

// Rate is how many operations are due in a second.
func (t *Traffic) Rate() float64 { return t.prober.Rate() }

// Ops are the operations that have ended so far.
func (t *Traffic) Ops() []history.Op { return t.prober.Ops() }

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

// Final ends the load, saves the history and reads the last state of every key.
func (t *Traffic) Final(ctx context.Context) ([]history.Op, map[string]history.State, error) {
	t.settled = true
	final, err := t.prober.Final(ctx)
	if err != nil {
		return nil, nil, err
	}
	if err := t.Caught(ctx); err != nil {
		return nil, nil, err
	}
	ops := t.Ops()
	// Evidence first: it must be there whatever becomes of the judgement.
	if err := t.save(ops); err != nil {
		return nil, nil, err
	}
	return ops, final, nil
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
	if t.prober != nil {
		stop, cancel := context.WithTimeout(ctx, 30*time.Second)
		errs = append(errs, t.prober.Stop(stop), t.save(t.prober.Ops()))
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

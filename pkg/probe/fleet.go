package probe

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"sync"

	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"

	"github.com/vaultproof/vaultproof/pkg/history"
)

// memberClients is how many client numbers a member of a fleet has to itself.
const memberClients = 1 << 24

// Fleet is load by many probers at once, spread over the nodes of the cluster: one
// prober has a processor's share of operations that it can send. Each has keys and
// client numbers of its own, so that what they saw can be judged as one history.
//
// It samples no pods and writes nothing to the timeline: outages are timed by a
// Prober beside it.
type Fleet struct {
	client  kubernetes.Interface
	opts    Options
	job     string
	members []*Prober
	close   sync.Once
	err     error // of Stop
}

// StartFleet runs an indexed Job of so many probers, which share opts.Rate, waits
// until all are ready and starts them. Pods, Ways and Log of opts are not used. ctx
// bounds the start alone. On error nothing is left behind.
func StartFleet(ctx context.Context, config *rest.Config, opts Options, size int) (*Fleet, error) {
	opts = opts.withDefaults()
	opts.Pods, opts.Ways, opts.Log = nil, nil, nil
	if size < 1 {
		return nil, fmt.Errorf("configuring the fleet: %d probers are none", size)
	}
	client, err := kubernetes.NewForConfig(config)
	if err != nil {
		return nil, fmt.Errorf("connecting the fleet to the cluster: %w", err)
	}
	f := &Fleet{client: client, opts: opts}
	pods, err := f.run(ctx, size)
	if err != nil {
		return nil, err
	}
	for index, pod := range pods {
		member := f.member(index, size)
		link, err := forward(config, client, opts.Namespace, pod, opts.Logger)
		if err == nil {
			err = f.join(ctx, &Prober{opts: member, client: client, pod: pod, link: link, pods: make(chan map[string]string, 1), keepPod: true})
		}
		if err != nil {
			return nil, errors.Join(err, f.Stop(context.WithoutCancel(ctx)))
		}
	}
	return f, nil
}

// member is what the prober of an index is told.
func (f *Fleet) member(index, size int) Options {
	opts := f.opts
	opts.Rate /= float64(size)
	opts.Seed += uint64(index)
	opts.name = fmt.Sprintf("p%d", index)
	opts.firstClient = (index + 1) * memberClients
	return opts
}

// join starts a member whose pod runs.
func (f *Fleet) join(ctx context.Context, p *Prober) error {
	cfg, err := p.opts.told()
	if err != nil {
		p.link.close()
		return fmt.Errorf("configuring a prober of the fleet: %w", err)
	}
	if err := p.begin(ctx, cfg); err != nil {
		p.link.close()
		return err
	}
	f.members = append(f.members, p)
	return nil
}

// Operations are all that have ended so far, of every member.
func (f *Fleet) Operations() []Operation {
	var ops []Operation
	for _, p := range f.members {
		ops = append(ops, p.Operations()...)
	}
	return ops
}

// Err tells why what the fleet saw is not complete, or nil.
func (f *Fleet) Err() error {
	var errs []error
	for _, p := range f.members {
		if err := p.Err(); err != nil {
			errs = append(errs, fmt.Errorf("prober %s: %w", p.pod, err))
		}
	}
	return errors.Join(errs...)
}

// Final ends the load of every member and reads what each left, as Prober.Final does.
func (f *Fleet) Final(ctx context.Context) (history.Final, error) {
	all := history.Final{Registers: map[string]history.State{}, Journals: map[string][]string{}}
	for _, p := range f.members {
		final, err := p.Final(ctx)
		if err != nil {
			return history.Final{}, fmt.Errorf("prober %s: %w", p.pod, err)
		}
		maps.Copy(all.Registers, final.Registers)
		maps.Copy(all.Journals, final.Journals)
	}
	return all, nil
}

// Stop ends the load, fetches what is left of the records and deletes the Job. It is
// deleted even if the rest fails. Stopping again does nothing and returns the same.
func (f *Fleet) Stop(ctx context.Context) error {
	f.close.Do(func() {
		errs := make([]error, len(f.members)+1)
		var stopping sync.WaitGroup
		for i, p := range f.members {
			stopping.Go(func() { errs[i] = p.Stop(ctx) })
		}
		stopping.Wait()
		errs[len(f.members)] = f.remove(ctx)
		f.err = errors.Join(errs...)
	})
	return f.err
}

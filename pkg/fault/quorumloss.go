package fault

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/chaos-mesh/chaos-mesh/api/v1alpha1"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/util/wait"
)

// QuorumLoss cuts every pod off from every other, in both directions, so that none
// of them has a majority. Clients, custody and the API server still reach all. It
// ends by itself, where pods that were taken away would wait for somebody.
type QuorumLoss struct {
	Env  *Env
	Pods []string
	// Duration after which the pods are connected again by themselves, in whole
	// seconds.
	Duration time.Duration
}

// Kind is quorum-loss.
func (f *QuorumLoss) Kind() string { return "quorum-loss" }

// Target is the pods' names.
func (f *QuorumLoss) Target() string { return strings.Join(f.Pods, ", ") }

// Inject creates a NetworkChaos for each pair of pods, so that each pair has rules of
// its own to be seen by, and waits until Chaos Mesh says that all are in force.
func (f *QuorumLoss) Inject(ctx context.Context) (Injected, error) {
	if len(f.Pods) < 2 {
		return nil, fmt.Errorf("%w: it takes two Vault pods at least to part them, and there are %d", ErrUnavailable, len(f.Pods))
	}
	victims, err := f.Env.victims(ctx, f.Pods)
	if err != nil {
		return nil, err
	}
	lost := &quorumLost{fault: f, victims: victims}
	err = lost.part(ctx)
	for _, cut := range lost.cuts {
		if err == nil {
			err = cut.settle(ctx)
		}
	}
	if err != nil {
		return nil, errors.Join(err, lost.Recover(context.WithoutCancel(ctx)))
	}
	return lost, nil
}

type quorumLost struct {
	fault   *QuorumLoss
	victims []*corev1.Pod
	cuts    []*partitioned // one for each pair
}

// part creates what cuts each pair.
func (q *quorumLost) part(ctx context.Context) error {
	env := q.fault.Env
	duration := q.fault.Duration.Truncate(time.Second).String()
	for i, one := range q.fault.Pods {
		for _, other := range q.fault.Pods[i+1:] {
			target := podSelector(env.Namespace, []string{other})
			cut, err := env.create(ctx, &v1alpha1.NetworkChaos{
				ObjectMeta: env.objectMeta("part", one+"-"+other),
				Spec: v1alpha1.NetworkChaosSpec{
					PodSelector: podSelector(env.Namespace, []string{one}),
					Action:      v1alpha1.PartitionAction,
					Direction:   v1alpha1.Both,
					Target:      &target,
					Duration:    &duration,
				},
			})
			if err != nil {
				return err
			}
			q.cuts = append(q.cuts, &partitioned{chaosObject: cut, direction: v1alpha1.Both})
		}
	}
	return nil
}

// Witness waits until as many cuts as there are pairs have dropped packets since they
// were first read, in the network namespaces of the pods. A cut is known by its chain,
// which bears the same name at both ends.
func (q *quorumLost) Witness(ctx context.Context) (Witness, error) {
	var (
		first   = map[string]map[string]uint64{} // by pod
		cuts    = map[string]bool{}              // chains that were seen to drop
		seen    = "no rule was read"
		witness Witness
	)
	err := wait.PollUntilContextCancel(ctx, pollEvery, true, func(ctx context.Context) (bool, error) {
		for _, victim := range q.victims {
			drops, err := q.cuts[0].drops(ctx, victim) // those of all cuts
			if err != nil {
				if ctx.Err() == nil {
					seen = err.Error()
				}
				continue // the daemon may be busy; the deadline decides
			}
			if first[victim.Name] == nil {
				first[victim.Name] = drops
			}
			maps.Copy(cuts, droppingCuts(first[victim.Name], drops))
			seen = fmt.Sprintf("of %d cuts between the pods %s %d drop packets (%s)", len(q.cuts), q.fault.Target(), len(cuts),
				strings.Join(slices.Sorted(maps.Keys(cuts)), ", "))
		}
		witness = Witness{At: time.Now(), Evidence: "in the network namespaces of the pods: " + seen}
		return len(cuts) >= len(q.cuts), nil
	})
	if err != nil {
		return Witness{}, fmt.Errorf("%w: %s%s", ErrNoWitness, seen, q.cuts[0].complaint(ctx))
	}
	return witness, nil
}

// droppingCuts are the cuts whose rules dropped more packets than at the first reading.
// A rule begins with its chain, DIRECTION/NAME.
func droppingCuts(first, now map[string]uint64) map[string]bool {
	cuts := map[string]bool{}
	for rule, packets := range now {
		if packets <= first[rule] {
			continue
		}
		chain, _, _ := strings.Cut(rule, " ")
		_, name, named := strings.Cut(chain, "/")
		if named {
			cuts[name] = true
		}
	}
	return cuts
}

// Patience covers the silence between two elections, whose candidates are the only
// ones to speak to all others.
func (q *quorumLost) Patience() time.Duration { return time.Minute }

// Recover connects all pods again at the same time, and waits until that is done.
func (q *quorumLost) Recover(ctx context.Context) error {
	errs := make([]error, len(q.cuts))
	var all sync.WaitGroup
	for i, cut := range q.cuts {
		all.Go(func() { errs[i] = cut.Recover(ctx) })
	}
	all.Wait()
	return errors.Join(errs...)
}

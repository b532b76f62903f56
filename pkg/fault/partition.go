package fault

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/chaos-mesh/chaos-mesh/api/v1alpha1"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/util/wait"
)

// ZonePartition cuts the Vault pods of one zone off from those of the others,
// and from what else is named. Clients and custody still reach all.
type ZonePartition struct {
	Env  *Env
	Zone string
	// Inside and Outside are the names of the Vault pods in the zone and in
	// all others.
	Inside, Outside []string
	// External are addresses that the zone is cut off from too, such as those
	// of the API server.
	External []string
	// Direction is in which packets are lost: v1alpha1.To, from the zone to the
	// others, v1alpha1.From, from the others to the zone, or both if empty.
	Direction v1alpha1.Direction
	// Duration after which the partition ends by itself, in whole seconds.
	Duration time.Duration
}

// Kind is zone-partition.
func (f *ZonePartition) Kind() string { return "zone-partition" }

// Target is the zone with its pods, and the direction if it is only one.
func (f *ZonePartition) Target() string {
	target := fmt.Sprintf("%s (%s)", f.Zone, strings.Join(f.Inside, ", "))
	switch f.direction() {
	case v1alpha1.To:
		return target + ", what it sends"
	case v1alpha1.From:
		return target + ", what is sent to it"
	default:
		return target
	}
}

func (f *ZonePartition) direction() v1alpha1.Direction { return cmp.Or(f.Direction, v1alpha1.Both) }

// Inject creates a NetworkChaos between the two groups of pods.
func (f *ZonePartition) Inject(ctx context.Context) (Injected, error) {
	if len(f.Inside) == 0 || len(f.Outside) == 0 {
		return nil, fmt.Errorf("%w: a partition needs Vault pods on both sides, there are %d in %s and %d elsewhere",
			ErrUnavailable, len(f.Inside), f.Zone, len(f.Outside))
	}
	victims, err := f.Env.victims(ctx, f.Inside)
	if err != nil {
		return nil, err
	}
	duration := f.Duration.Truncate(time.Second).String()
	outside := podSelector(f.Env.Namespace, f.Outside)
	object := &v1alpha1.NetworkChaos{
		ObjectMeta: f.Env.objectMeta("partition", f.Zone),
		Spec: v1alpha1.NetworkChaosSpec{
			PodSelector: podSelector(f.Env.Namespace, f.Inside),
			Action:      v1alpha1.PartitionAction,
			Direction:   f.direction(),
			Target:      &outside,
			Duration:    &duration,
		},
	}
	created, err := f.Env.create(ctx, object)
	if err != nil {
		return nil, err
	}
	cut := &partitioned{chaosObject: created, victims: victims, direction: f.direction()}
	if len(f.External) == 0 {
		return cut, nil
	}
	// Not in the same object: Chaos Mesh would cut the pods outside off from these
	// addresses too.
	external := f.Env.cutOff("external", f.Inside, f.External, f.Duration)
	external.Spec.Direction = f.direction()
	if cut.also, err = f.Env.create(ctx, external); err != nil {
		return nil, errors.Join(err, cut.Recover(context.WithoutCancel(ctx)))
	}
	return cut, nil
}

// cutOff is an object that cuts pods off from addresses, in both directions. What they
// are called is part of its name.
func (e *Env) cutOff(what string, pods, addresses []string, lasting time.Duration) *v1alpha1.NetworkChaos {
	duration := lasting.Truncate(time.Second).String()
	return &v1alpha1.NetworkChaos{
		ObjectMeta: e.objectMeta("partition", what),
		Spec: v1alpha1.NetworkChaosSpec{
			PodSelector:     podSelector(e.Namespace, pods),
			Action:          v1alpha1.PartitionAction,
			Direction:       v1alpha1.Both,
			ExternalTargets: addresses,
			Duration:        &duration,
		},
	}
}

// isolate creates the object, which cuts the pods off from something, and waits
// until Chaos Mesh says that it is in force on all of them: what comes next may
// depend on it.
func (e *Env) isolate(ctx context.Context, object *v1alpha1.NetworkChaos, pods []string) (*partitioned, error) {
	victims, err := e.victims(ctx, pods)
	if err != nil {
		return nil, err
	}
	created, err := e.create(ctx, object)
	if err != nil {
		return nil, err
	}
	cut := &partitioned{chaosObject: created, victims: victims, direction: object.Spec.Direction}
	if err := created.settle(ctx); err != nil {
		return nil, errors.Join(err, cut.Recover(context.WithoutCancel(ctx)))
	}
	return cut, nil
}

type partitioned struct {
	*chaosObject
	also      *chaosObject // from addresses outside of the cluster; nil if from none
	victims   []*corev1.Pod
	direction v1alpha1.Direction // seen from the victims
}

// Recover reconnects the pods, and waits until that is done.
func (p *partitioned) Recover(ctx context.Context) error {
	err := p.chaosObject.Recover(ctx)
	if p.also != nil {
		err = errors.Join(err, p.also.Recover(ctx))
	}
	return err
}

// Witness waits until, in the network namespace of one of the pods cut off, a
// DROP rule that Chaos Mesh hooked in has dropped more packets than when it was
// first read. Chains that are there but not jumped to do not count: they stay
// after a recovery.
func (p *partitioned) Witness(ctx context.Context) (Witness, error) {
	var (
		first   = map[string]map[string]uint64{} // by pod
		seen    = "no rule was read"
		witness Witness
	)
	err := wait.PollUntilContextCancel(ctx, pollEvery, true, func(ctx context.Context) (bool, error) {
		for _, victim := range p.victims {
			drops, err := p.drops(ctx, victim)
			if err != nil {
				seen = err.Error()
				continue // the daemon may be busy, or the pod restarting; the deadline decides
			}
			if len(first[victim.Name]) == 0 {
				first[victim.Name] = drops
				seen = fmt.Sprintf("no DROP rule is hooked into CHAOS-INPUT or CHAOS-OUTPUT of pod %s", victim.Name)
				if len(drops) > 0 {
					seen = fmt.Sprintf("the DROP rules of pod %s count no packet more than at first", victim.Name)
				}
				continue
			}
			if evidence, rising := risingDrops(first[victim.Name], drops); rising {
				witness = Witness{Evidence: fmt.Sprintf("in the network namespace of pod %s %s", victim.Name, evidence), At: time.Now()}
				return true, nil
			}
		}
		return false, nil
	})
	if err != nil {
		return Witness{}, fmt.Errorf("%w: %s%s", ErrNoWitness, seen, p.complaint(ctx))
	}
	return witness, nil
}

// drops are those of one of the pods, in the direction of the partition.
func (p *partitioned) drops(ctx context.Context, victim *corev1.Pod) (map[string]uint64, error) {
	drops, err := p.env.drops(ctx, victim)
	return directed(drops, p.direction), err
}

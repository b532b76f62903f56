package fault

import (
	"context"
	"fmt"
	"strings"
	"time"

	"github.com/chaos-mesh/chaos-mesh/api/v1alpha1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/wait"
)

// ZonePartition cuts the Vault pods of one zone off from those of the others,
// in both directions. Clients, the API server and custody still reach all.
type ZonePartition struct {
	Env  *Env
	Zone string
	// Inside and Outside are the names of the Vault pods in the zone and in
	// all others.
	Inside, Outside []string
	// Duration after which the partition ends by itself, in whole seconds.
	Duration time.Duration
}

// Kind is zone-partition.
func (f *ZonePartition) Kind() string { return "zone-partition" }

// Target is the zone with its pods.
func (f *ZonePartition) Target() string {
	return fmt.Sprintf("%s (%s)", f.Zone, strings.Join(f.Inside, ", "))
}

// Inject creates a NetworkChaos between the two groups of pods.
func (f *ZonePartition) Inject(ctx context.Context) (Injected, error) {
	if len(f.Inside) == 0 || len(f.Outside) == 0 {
		return nil, fmt.Errorf("%w: a partition needs Vault pods on both sides, there are %d in %s and %d elsewhere",
			ErrUnavailable, len(f.Inside), f.Zone, len(f.Outside))
	}
	victim, err := f.Env.Client.CoreV1().Pods(f.Env.Namespace).Get(ctx, f.Inside[0], metav1.GetOptions{})
	if err != nil {
		return nil, fmt.Errorf("reading pod %s/%s before cutting it off: %w", f.Env.Namespace, f.Inside[0], err)
	}
	if err := f.Env.daemonOn(ctx, victim.Spec.NodeName); err != nil {
		return nil, err
	}
	duration := f.Duration.Truncate(time.Second).String()
	outside := podSelector(f.Env.Namespace, f.Outside)
	object := &v1alpha1.NetworkChaos{
		ObjectMeta: f.Env.objectMeta("partition", f.Zone),
		Spec: v1alpha1.NetworkChaosSpec{
			PodSelector: podSelector(f.Env.Namespace, f.Inside),
			Action:      v1alpha1.PartitionAction,
			Direction:   v1alpha1.Both,
			Target:      &outside,
			Duration:    &duration,
		},
	}
	created, err := f.Env.create(ctx, object)
	if err != nil {
		return nil, err
	}
	return &partitioned{chaosObject: created, victim: victim}, nil
}

type partitioned struct {
	*chaosObject
	victim *corev1.Pod
}

// Witness waits until, in the network namespace of a pod inside the zone, a
// DROP rule that Chaos Mesh hooked in has dropped more packets than when it was
// first read. Chains that are there but not jumped to do not count: they stay
// after a recovery.
func (p *partitioned) Witness(ctx context.Context) (Witness, error) {
	status, ok := containerStatus(p.victim, p.env.Container)
	if !ok {
		return Witness{}, fmt.Errorf("%w: pod %s has no container %s to find its network namespace by", ErrNoWitness, p.victim.Name, p.env.Container)
	}
	daemon, err := p.env.daemonPod(ctx, p.victim.Spec.NodeName)
	if err != nil {
		return Witness{}, fmt.Errorf("%w: %w", ErrNoWitness, err)
	}
	var (
		first   map[string]uint64
		seen    = "no rule was read"
		witness Witness
	)
	err = wait.PollUntilContextCancel(ctx, pollEvery, true, func(ctx context.Context) (bool, error) {
		saved, err := p.env.iptables(ctx, daemon, status.ContainerID)
		if err != nil {
			seen = err.Error()
			return false, nil // the daemon may be busy; the deadline decides
		}
		drops := hookedDrops(saved)
		if len(first) == 0 {
			first = drops
			seen = fmt.Sprintf("no DROP rule is hooked into CHAOS-INPUT or CHAOS-OUTPUT of pod %s", p.victim.Name)
			if len(drops) > 0 {
				seen = fmt.Sprintf("the DROP rules of pod %s count no packet more than at first", p.victim.Name)
			}
			return false, nil
		}
		evidence, rising := risingDrops(first, drops)
		if rising {
			witness = Witness{Evidence: fmt.Sprintf("in the network namespace of pod %s %s", p.victim.Name, evidence), At: time.Now()}
		}
		return rising, nil
	})
	if err != nil {
		return Witness{}, fmt.Errorf("%w: %s%s", ErrNoWitness, seen, p.complaint(ctx))
	}
	return witness, nil
}

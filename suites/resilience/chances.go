package resilience

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/vaultproof/vaultproof/pkg/conformance"
	"github.com/vaultproof/vaultproof/pkg/fault"
	"github.com/vaultproof/vaultproof/pkg/fault/schedule"
	"github.com/vaultproof/vaultproof/pkg/target"
	"github.com/vaultproof/vaultproof/suites/trial"
)

// How long a fault of a walk lasts that does not end by itself: long enough for an
// election, short of what Kubernetes itself would do about it.
const (
	leastHold = 10 * time.Second
	mostHold  = 20 * time.Second
)

// chance is one kind of fault that a walk may take.
type chance struct {
	kind  string
	lasts bool
	// choose makes the fault for the pod that was drawn.
	choose func(ctx context.Context, m moment) (fault.Fault, error)
}

// moment is how Vault is when a step of a walk is due.
type moment struct {
	r      *conformance.Case
	states []target.PodState
	active target.PodState
	victim target.PodState // the one that was drawn
	life   time.Duration   // of a fault that ends by itself if nobody undoes it
}

// chances are all that a walk may take; what a cluster cannot be given is left out when
// it comes to that. Kinds that combine two faults are named for it, the others as they
// name themselves.
var chances = []chance{
	{kind: "pod-delete", choose: func(_ context.Context, m moment) (fault.Fault, error) {
		return &fault.PodDelete{Env: m.r.Faults, Pod: m.victim.Pod.Name}, nil
	}},
	{kind: "pod-delete-forced", choose: func(_ context.Context, m moment) (fault.Fault, error) {
		return &fault.PodDelete{Env: m.r.Faults, Pod: m.victim.Pod.Name, Force: true}, nil
	}},
	{kind: "process-kill", choose: func(_ context.Context, m moment) (fault.Fault, error) {
		return &fault.ProcessKill{Env: m.r.Faults, Pod: m.victim.Pod.Name}, nil
	}},
	{kind: "process-stop", lasts: true, choose: func(_ context.Context, m moment) (fault.Fault, error) {
		return &fault.ProcessStop{Env: m.r.Faults, Pod: m.victim.Pod.Name, Duration: m.life}, nil
	}},
	{kind: "container-kill", choose: killSidecar},
	{kind: "node-drain", choose: func(_ context.Context, m moment) (fault.Fault, error) {
		return &fault.NodeDrain{Env: m.r.Faults, Node: m.victim.Pod.Spec.NodeName}, nil
	}},
	{kind: "node-power-off", lasts: true, choose: func(ctx context.Context, m moment) (fault.Fault, error) {
		return trial.PowerOff(ctx, m.r, m.victim)
	}},
	{kind: "zone-partition", lasts: true, choose: func(_ context.Context, m moment) (fault.Fault, error) {
		return partitionOf(m, m.victim)
	}},
	{kind: "zone-loss", lasts: true, choose: loseZone},
	{kind: "api-partition", lasts: true, choose: func(_ context.Context, m moment) (fault.Fault, error) {
		return &fault.APIPartition{Env: m.r.Faults, Pods: []string{m.victim.Pod.Name}, Duration: m.life}, nil
	}},
	{kind: "quorum-loss", lasts: true, choose: func(_ context.Context, m moment) (fault.Fault, error) {
		return &fault.QuorumLoss{Env: m.r.Faults, Pods: namesOf(m.states), Duration: m.life}, nil
	}},
	{kind: "all-pods-delete", choose: func(_ context.Context, m moment) (fault.Fault, error) {
		return &fault.AllPodsDelete{Env: m.r.Faults, Pods: namesOf(m.states)}, nil
	}},
	{kind: "partition-in-failover", lasts: true, choose: partitionInFailover},
	{kind: "kill-in-unseal", choose: killInUnseal},
}

// killSidecar ends the container that unseals; Vault itself must not notice.
func killSidecar(_ context.Context, m moment) (fault.Fault, error) {
	return &fault.ContainerKill{Env: m.r.Faults, Pod: m.victim.Pod.Name, Container: m.r.Target.SidecarContainer}, nil
}

// partitionOf cuts the zone of a pod off from the other Vault pods.
func partitionOf(m moment, pod target.PodState) (fault.Fault, error) {
	p, err := trial.Partition(m.r, m.states, pod, m.life)
	if err != nil {
		return nil, err // not p: a nil partition is no nil fault
	}
	return p, nil
}

// loseZone cuts all that is in the zone of the pod off from everything.
func loseZone(_ context.Context, m moment) (fault.Fault, error) {
	p, err := trial.Partition(m.r, m.states, m.victim, m.life)
	if err != nil {
		return nil, err
	}
	return &fault.ZoneLoss{Env: m.r.Faults, Zone: p.Zone, Duration: m.life}, nil
}

// partitionInFailover kills the active and cuts a survivor off while the others elect:
// nobody has a majority until the killed one is back.
func partitionInFailover(_ context.Context, m moment) (fault.Fault, error) {
	survivor := m.victim
	for _, s := range m.states {
		if survivor.Pod.Name == m.active.Pod.Name {
			survivor = s // the first other one
		}
	}
	second, err := partitionOf(m, survivor)
	if err != nil {
		return nil, err
	}
	return &schedule.Overlap{
		Name:   "partition-in-failover",
		First:  &fault.ProcessKill{Env: m.r.Faults, Pod: m.active.Pod.Name},
		Moment: schedule.Hit,
		Second: second,
	}, nil
}

// killInUnseal replaces a pod and kills the Vault of its successor while that is started
// and unsealed.
func killInUnseal(_ context.Context, m moment) (fault.Fault, error) {
	pod := m.victim.Pod
	return &schedule.Overlap{
		Name:   "kill-in-unseal",
		First:  &fault.PodDelete{Env: m.r.Faults, Pod: pod.Name, Force: true},
		Moment: schedule.Unsealing(m.r.Faults, pod.Name, pod.UID),
		Second: &fault.ContainerKill{Env: m.r.Faults, Pod: pod.Name, Container: m.r.Target.Container},
	}, nil
}

// kindsOf are the chances as a walk is planned by.
func kindsOf(all []chance) []schedule.Kind {
	kinds := make([]schedule.Kind, 0, len(all))
	for _, c := range all {
		k := schedule.Kind{Name: c.kind}
		if c.lasts {
			k.MinHold, k.MaxHold = leastHold, mostHold
		}
		kinds = append(kinds, k)
	}
	return kinds
}

// take makes the fault of a step. What this target cannot be given is unavailable: a walk
// goes on without it.
func take(ctx context.Context, s schedule.Step, m moment) (fault.Fault, error) {
	found := false
	for _, state := range m.states {
		if state.Pod.Name == s.Target {
			m.victim, found = state, true
		}
	}
	if !found {
		return nil, m.r.Inconclusive("there is no pod %s any more", s.Target)
	}
	for _, c := range chances {
		if c.kind != s.Kind {
			continue
		}
		f, err := c.choose(ctx, m)
		if err != nil && !errors.Is(err, fault.ErrUnavailable) {
			err = fmt.Errorf("%w: %w", fault.ErrUnavailable, err)
		}
		return f, err
	}
	return nil, m.r.Inconclusive("there is no fault of kind %s", s.Kind)
}

func namesOf(states []target.PodState) []string {
	names := make([]string, 0, len(states))
	for _, s := range states {
		names = append(names, s.Pod.Name)
	}
	return names
}

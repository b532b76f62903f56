package resilience

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/onsi/ginkgo/v2"

	"github.com/vaultproof/vaultproof/pkg/conformance"
	"github.com/vaultproof/vaultproof/pkg/fault"
	"github.com/vaultproof/vaultproof/pkg/fault/schedule"
	"github.com/vaultproof/vaultproof/pkg/kube"
	"github.com/vaultproof/vaultproof/pkg/target"
	"github.com/vaultproof/vaultproof/pkg/timeline"
	"github.com/vaultproof/vaultproof/suites/trial"
)

// missedAnswer is how long pods may say nothing and still count as unsealed: a Vault that
// changes its role holds its answers back, for more than a second on a busy machine. Two
// pods that are really gone stay so for much longer: a start alone takes that.
const missedAnswer = 3 * time.Second

var res03 = conformance.Check{
	ID: "RES-03", Area: area, Level: conformance.Must,
	Assertion: "while every node is drained in turn the quorum is never lost, no second pod may be evicted before the first is back, each comes back unsealed and votes, and no outage is beyond its budget",
	Source:    "hashicorp/vault-helm#522",
	Observe:   "drain of each Vault node through the eviction API, in an order that the seed decides; dry-run evictions of the other pods meanwhile; seal state of all pods; raft's configuration; load through the active Service",
	Timeout:   3 * time.Hour, // for many rounds; each drain has its own
}

var _ = conformance.It(res03, conformance.Chaos, func(ctx ginkgo.SpecContext, r *conformance.Case) error {
	if _, err := r.Target.RaftServers(ctx); errors.Is(err, target.ErrNoPrivilege) {
		return r.Skip("who votes in raft cannot be read: %v", err)
	}
	pods, err := r.Target.Pods(ctx)
	if err != nil {
		return r.CannotTell(err)
	}
	if len(pods) == 0 {
		return r.Inconclusive("there is no Vault pod")
	}
	var names []string
	for _, p := range pods {
		names = append(names, p.Name)
	}
	rounds := (r.Trials + len(names) - 1) / len(names) // a trial is a drain, and each node has one at least
	steps := schedule.Rounds((&fault.NodeDrain{}).Kind(), names, rounds, r.Rand)
	followed, err := trial.Follow(ctx, r, steps, func(s schedule.Step) trial.Plan {
		return trial.Plan{
			Make: func(_ context.Context, states []target.PodState, _ target.PodState) (fault.Fault, error) {
				return drainOf(r, s.Target, states)
			},
			Hold:   func(ctx context.Context, _ trial.Struck) error { return othersStay(ctx, r, s.Target) },
			Outage: r.Budget,
		}
	}, func(s schedule.Step, res trial.Result) error { return drainedWell(ctx, r, s, res) })
	if err != nil {
		return err
	}
	if len(followed.LeftOut) > 0 { // it takes every node
		return followed.LeftOut[0]
	}
	return withinBudgetByRole(r, followed.Results)
})

// drainOf chooses to drain the node that a pod is on.
func drainOf(r *conformance.Case, pod string, states []target.PodState) (fault.Fault, error) {
	for _, s := range states {
		if s.Pod.Name == pod {
			return &fault.NodeDrain{Env: r.Faults, Node: s.Pod.Spec.NodeName}, nil
		}
	}
	return nil, r.Inconclusive("there is no pod %s any more", pod)
}

// othersStay asks, while a pod is out, for the eviction of each other one, without
// evicting it. They must be refused until the pod is back: who drains the next node does
// not look at Vault.
func othersStay(ctx context.Context, r *conformance.Case, out string) error {
	pods, err := r.Target.Pods(ctx)
	if err != nil {
		return r.CannotTell(err)
	}
	for i := range pods {
		if pods[i].Name == out || !target.PodReady(&pods[i]) { // one that serves nobody may go at any time
			continue
		}
		refusal, err := kube.TryEviction(ctx, r.Target.Client, &pods[i])
		if err != nil {
			return r.CannotTell(err)
		}
		if refusal != "" {
			continue
		}
		states, err := r.Target.State(ctx) // after the answer: the pod may have just come back elsewhere
		if err != nil {
			return r.CannotTell(err)
		}
		if err := admittedInTime(pods[i].Name, out, states); err != nil {
			return err
		}
	}
	return nil
}

// admittedInTime judges an eviction that was admitted while another pod was drained.
func admittedInTime(admitted, out string, states []target.PodState) error {
	seen := "is not there"
	for _, s := range states {
		if s.Pod.Name != out {
			continue
		}
		if s.Ready() && s.Unsealed() {
			return nil
		}
		seen = fmt.Sprintf("is not back (Ready %t, unsealed %t)", s.Ready(), s.Unsealed())
	}
	return fmt.Errorf("the API server would evict pod %s while pod %s, evicted before it, %s; want it refused by a PodDisruptionBudget until that is unsealed (hashicorp/vault-helm#522)", admitted, out, seen)
}

// drainedWell judges one drain, after Vault is whole again.
func drainedWell(ctx context.Context, r *conformance.Case, s schedule.Step, res trial.Result) error {
	if s.Target == res.Active {
		if err := trial.TookOver(res); err != nil {
			return err
		}
	}
	without, told := withoutQuorum(res.Events, r.Target.Replicas, res.At, res.End)
	if !told {
		return r.Inconclusive("nobody told whether the pods are sealed, so that the quorum was kept is not shown")
	}
	r.Measure(trial.Name(r, s.N, "without_quorum_ms"), float64(without.Milliseconds()))
	if err := keptQuorum(without, r.Target.Replicas, res); err != nil {
		return err
	}
	servers, err := r.Target.RaftServers(ctx)
	if err != nil {
		return r.CannotTell(err)
	}
	return target.AllVote(servers, r.Target.Replicas)
}

// keptQuorum judges the longest time in which no majority was unsealed.
func keptQuorum(without time.Duration, replicas int, res trial.Result) error {
	if without <= missedAnswer {
		return nil
	}
	return fmt.Errorf("for %s during %s (%s of %s) fewer than %d of %d pods said that they are unsealed; want the quorum never lost (%s may pass without an answer)",
		trial.Round(without), res.ID, res.Kind, res.Target, replicas/2+1, replicas, missedAnswer)
}

// withoutQuorum is the longest time, from one instant until another, in which no
// majority of the pods said that they are unsealed; told is false if none ever said
// anything. Events are in order of time.
func withoutQuorum(events []timeline.Event, replicas int, from, until time.Time) (longest time.Duration, told bool) {
	unsealed := map[string]bool{}
	var since time.Time // when the majority was lost; zero while there is one
	look := func(at time.Time) {
		n := 0
		for _, is := range unsealed {
			if is {
				n++
			}
		}
		switch lost := 2*n <= replicas; {
		case !lost && !since.IsZero():
			longest = max(longest, at.Sub(since))
			since = time.Time{}
		case lost && since.IsZero():
			since = at
		}
	}
	began := false
	for _, e := range events {
		if e.Kind != timeline.Seal || e.At.After(until) {
			continue
		}
		if !began && e.At.After(from) {
			began = true
			look(from)
		}
		told = true
		unsealed[e.Subject] = e.Value == "unsealed"
		if began {
			look(e.At)
		}
	}
	if !began {
		look(from)
	}
	if !since.IsZero() {
		longest = max(longest, until.Sub(since))
	}
	return longest, told
}

// withinBudgetByRole holds the drains of the active apart from those of standbys, whose
// clients need not notice: together they would hide a tail.
func withinBudgetByRole(r *conformance.Case, results []trial.Result) error {
	var active, standby []trial.Result
	for _, res := range results {
		if res.Phases.Elected != nil {
			active = append(active, res)
		} else {
			standby = append(standby, res)
		}
	}
	for _, some := range [][]trial.Result{active, standby} {
		if len(some) == 0 {
			continue
		}
		if err := trial.HeldToBudget(r, some, r.Budget); err != nil {
			return err
		}
	}
	return nil
}

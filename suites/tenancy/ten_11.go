package tenancy

import (
	"context"
	"fmt"
	"math/rand/v2"
	"time"

	"github.com/onsi/ginkgo/v2"

	"github.com/vaultproof/vaultproof/pkg/conformance"
	"github.com/vaultproof/vaultproof/pkg/fault"
	"github.com/vaultproof/vaultproof/pkg/fault/schedule"
	"github.com/vaultproof/vaultproof/pkg/target"
	"github.com/vaultproof/vaultproof/suites/trial"
)

const (
	// cutFor is how long the zone of the active stays cut off: longer than the majority
	// takes to elect, and than the old active takes to step down.
	cutFor = 15 * time.Second
	// cutLife is after how long the cut ends by itself, should the run die.
	cutLife = 60 * time.Second
)

// The kinds of the faults, as a schedule names them.
const (
	killActive = "kill-active"
	drainNode  = "drain-node"
	cutZone    = "cut-zone"
)

var ten11 = conformance.Check{
	ID: "TEN-11", Area: area, Level: conformance.Must,
	Assertion: "while the active is killed, each node drained and a zone cut off, tenants that log in 50 times a second, read and encrypt fail in the outage of the fault alone and within its budget, their connections to PostgreSQL never fail, and no lease is lost or left behind there",
	Source:    "hashicorp/vault#21473; HashiCorp Vault, database secrets engine: leases and revocation",
	Observe:   "logins from the tenant cluster through the ingress; an application of each of two tenants, with a Vault Agent, that tells of each operation when it was due and what came of it; the accounts in PostgreSQL against Vault's leases",
	Timeout:   2 * time.Hour, // for many rounds; each fault has its own
}

var _ = conformance.It(ten11, conformance.Chaos, func(ctx ginkgo.SpecContext, r *conformance.Case) error {
	env, err := tenants(ctx, r)
	if err != nil {
		return err
	}
	fire, err := env.underFire(ctx, r)
	if err != nil {
		return err
	}
	pods, err := r.Target.Pods(ctx)
	if err != nil {
		return r.CannotTell(err)
	}
	var names []string
	for _, p := range pods {
		names = append(names, p.Name)
	}
	if len(names) == 0 {
		return r.Inconclusive("there is no Vault pod")
	}
	followed, err := trial.Follow(ctx, r, volleys(names, r.Trials, r.Rand), fire.plan, func(s schedule.Step, res trial.Result) error {
		return fire.judge(ctx, s, res)
	})
	if err != nil {
		return err
	}
	if len(followed.LeftOut) > 0 { // it takes every fault
		return followed.LeftOut[0]
	}
	return fire.settle(ctx)
})

// volleys plans as many faults as there are trials, in whole rounds: in each the active is
// killed, the node of every pod is drained, and the zone of the active is cut off.
func volleys(pods []string, trials int, random *rand.Rand) []schedule.Step {
	var steps []schedule.Step
	add := func(kind, pod string) {
		steps = append(steps, schedule.Step{N: len(steps) + 1, Kind: kind, Target: pod})
	}
	for len(steps) == 0 || len(steps) < trials {
		add(killActive, "the active")
		for _, s := range schedule.Rounds(drainNode, pods, 1, random) {
			add(s.Kind, s.Target)
		}
		add(cutZone, "the active")
	}
	return steps
}

// plan is how a step is made a trial.
func (f *fire) plan(s schedule.Step) trial.Plan {
	p := trial.Plan{Outage: f.r.Budget}
	switch s.Kind {
	case killActive:
		p.Make = func(_ context.Context, _ []target.PodState, active target.PodState) (fault.Fault, error) {
			return &fault.ProcessKill{Env: f.r.Faults, Pod: active.Pod.Name}, nil
		}
	case drainNode:
		p.Make = func(_ context.Context, states []target.PodState, _ target.PodState) (fault.Fault, error) {
			for _, state := range states {
				if state.Pod.Name == s.Target {
					return &fault.NodeDrain{Env: f.r.Faults, Node: state.Pod.Spec.NodeName}, nil
				}
			}
			return nil, f.r.Inconclusive("there is no pod %s any more", s.Target)
		}
	default:
		p.Make = func(_ context.Context, states []target.PodState, active target.PodState) (fault.Fault, error) {
			cut, err := trial.Partition(f.r, states, active, cutLife)
			if err != nil {
				return nil, err // not cut: a nil partition is no nil fault
			}
			return cut, nil
		}
		p.Hold = func(ctx context.Context, hit trial.Struck) error {
			return trial.FlowUntil(ctx, f.r, hit.At.Add(cutFor))
		}
	}
	return p
}

// judge judges what tenants saw of one fault.
func (f *fire) judge(ctx context.Context, s schedule.Step, res trial.Result) error {
	if s.Kind != drainNode || s.Target == res.Active {
		if err := trial.TookOver(res); err != nil {
			return err
		}
	}
	all, err := f.seen(ctx, res)
	if err != nil {
		return f.r.CannotTell(err)
	}
	for _, one := range all {
		if err := one.enough(res); err != nil {
			return f.r.CannotTell(fmt.Errorf("%s: %w", one.what, err))
		}
		f.r.Measure(trial.Name(f.r, s.N, one.name+"_outage_ms"), one.outage(res).MS())
	}
	moments := []time.Time{res.At}
	if s.Kind == cutZone { // joining what was apart may take another election
		moments = append(moments, res.Undone)
	}
	for _, one := range all {
		if err := one.judge(f.r, res, moments); err != nil {
			return fmt.Errorf("%s: %w", one.what, err)
		}
	}
	return f.running(ctx)
}

package routing

import (
	"context"
	"errors"
	"fmt"
	"math"
	"time"

	"github.com/onsi/ginkgo/v2"

	"github.com/vaultproof/vaultproof/pkg/conformance"
	"github.com/vaultproof/vaultproof/pkg/fault"
	"github.com/vaultproof/vaultproof/pkg/history"
	"github.com/vaultproof/vaultproof/pkg/target"
	"github.com/vaultproof/vaultproof/suites/trial"
)

const (
	// isolationLife is after how long the partition ends by itself, should the
	// run die: longer than it is ever held.
	isolationLife = 60 * time.Second
	// isolationElection is how long the others may take to elect meanwhile.
	isolationElection = 25 * time.Second
	// isolationAfter is how long the partition is held on: time for a stale
	// label to do harm.
	isolationAfter = 10 * time.Second
	// letGo is how long clients may take to leave a pod that they are connected
	// to: a second of errors, and one for kube-proxy to route new connections.
	letGo = 2 * time.Second
)

// The pod is cut off from its peers and from the API server, and clients, custody
// and the kubelet still reach it. That is the worst case for routing: the pod
// stays Ready, cannot correct its own label, and would be served for ever.
var act07 = conformance.Check{
	ID: "ACT-07", Area: area, Level: conformance.Must,
	Assertion: "an active pod cut off from its peers and the API server gets no Service traffic once its successor is labelled",
	Source:    "hashicorp/vault#18117",
	Observe:   "partition of the active's zone from peers and API server in both directions; EndpointSlices and the pod named in every answer",
	Timeout:   30 * time.Minute,
}

var _ = conformance.It(act07, conformance.Chaos, func(ctx ginkgo.SpecContext, r *conformance.Case) error {
	_, err := trial.Repeat(ctx, r, trial.Plan{
		Make: func(ctx context.Context, states []target.PodState, active target.PodState) (fault.Fault, error) {
			return isolation(ctx, r, states, active)
		},
		Hold: func(ctx context.Context, hit trial.Struck) error {
			election, cancel := context.WithTimeout(ctx, isolationElection)
			defer cancel()
			trial.AwaitSuccessor(election, r.Target, hit.Active) // the judgement says if there was none
			return trial.FlowUntil(ctx, r, time.Now().Add(isolationAfter))
		},
	}, func(res trial.Result) error {
		if err := trial.TookOver(res); err != nil {
			return err
		}
		cut, err := severed(res)
		if err != nil {
			return err
		}
		last := lastEnd(listed(res.Events, r.Target.ActiveService, res.Active, cut.labelled, cut.until), cut.labelled)
		r.Measure("stale_endpoint_ms", math.Round(float64(last.Sub(cut.labelled).Milliseconds())))
		return errors.Join(cut.endpoints(r.Target.ActiveService, r.Budget), cut.answers(r.Traffic.Ops(), r.Budget), trial.Ended(res))
	})
	return err
})

// isolation cuts the zone of the active pod off from the other Vault pods and
// the API server.
func isolation(ctx context.Context, r *conformance.Case, states []target.PodState, active target.PodState) (fault.Fault, error) {
	p, err := trial.Partition(r, states, active, isolationLife)
	if err != nil {
		return nil, err
	}
	if p.External, err = r.Faults.APIServerAddresses(ctx); err != nil {
		return nil, r.CannotTell(err)
	}
	return p, nil
}

// cutOff is what is judged of a pod that was cut off and replaced.
type cutOff struct {
	res      trial.Result
	pod      string    // the successor
	labelled time.Time // the successor was labelled and active
	until    time.Time // the pod was reconnected, or active again
}

// severed finds the successor and when it bore the label and was active.
func severed(res trial.Result) (cutOff, error) {
	cut := cutOff{res: res, until: rightful(res)}
	if res.Undone.Before(cut.until) && !res.Undone.IsZero() {
		cut.until = res.Undone
	}
	pod, at := successor(res.Events, res.Active, res.At, cut.until)
	cut.pod = pod
	spans := labelled(res.Events, pod, res.At, cut.until)
	if len(spans) == 0 {
		return cut, fmt.Errorf("pod %s was active from %s on and was not labelled %s=true until %s, while %s was cut off; want clients to have an active pod",
			pod, trial.Clock(at), target.ActiveLabel, trial.Clock(cut.until), res.Active)
	}
	cut.labelled = spans[0].from
	if cut.labelled.Before(at) { // Vault sets the label while it takes over
		cut.labelled = at
	}
	return cut, nil
}

// endpoints judges that the Service lets go of the pod within the budget.
func (c cutOff) endpoints(service string, budget time.Duration) error {
	if budget <= 0 {
		return errors.New("no budget is set for the stale endpoint")
	}
	spans := listed(c.res.Events, service, c.res.Active, c.labelled.Add(budget), c.until)
	if len(spans) == 0 {
		return nil
	}
	until := lastEnd(spans, c.labelled)
	return fmt.Errorf("the EndpointSlices of Service %s list %s, cut off, as ready until %s, %s after its successor %s was labelled; want it gone within %s (hashicorp/vault#18117)",
		service, c.res.Active, trial.Clock(until), trial.Round(until.Sub(c.labelled)), c.pod, budget)
}

// answers judges what clients got: no success from the pod once its successor
// is there, and no answer at all once clients have had time to leave it.
func (c cutOff) answers(ops []history.Op, budget time.Duration) error {
	left := c.labelled.Add(budget + letGo)
	for _, op := range ops {
		called := time.Unix(0, op.Call)
		if op.Pod != c.res.Active || called.Before(c.labelled) || !called.Before(c.until) {
			continue
		}
		if op.Outcome == history.OK {
			return fmt.Errorf("pod %s, cut off, answered a %s with success at %s, %s after its successor %s was labelled; want nothing from it (hashicorp/vault#18117)",
				c.res.Active, op.Kind, trial.Clock(called), trial.Round(called.Sub(c.labelled)), c.pod)
		}
		if called.After(left) {
			return fmt.Errorf("a %s at %s still reached pod %s, cut off, %s after its successor %s was labelled, and failed (%s); want the Service to route past it",
				op.Kind, trial.Clock(called), c.res.Active, trial.Round(called.Sub(c.labelled)), c.pod, op.Error)
		}
	}
	return nil
}

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
	"github.com/vaultproof/vaultproof/pkg/target"
	"github.com/vaultproof/vaultproof/suites/trial"
)

const (
	// apiOutage is how long the API server stays out of reach after the active
	// is killed: long enough that Vault's own retries back off to half a minute.
	apiOutage = 45 * time.Second
	// apiOutageLife is after how long it ends by itself, should the run die.
	apiOutageLife = 2 * time.Minute
	// converge is how long labels may take once the API server is back: Vault's
	// longest pause between two tries, 30 s, and 5 s until its next look.
	converge = 35 * time.Second
	// directWrite bounds one write straight to the new active pod.
	directWrite = 5 * time.Second
)

var act08 = conformance.Check{
	ID: "ACT-08", Area: area, Level: conformance.Must,
	Assertion: "while the Vault pods cannot reach the API server a standby takes over within the budget, and 35 s after they can the labels are right",
	Source:    "hashicorp/vault serviceregistration/kubernetes/client/client.go: a PATCH is tried 10 times before activation goes on",
	Observe:   "Vault pods cut off from the API server's addresses for 45 s; SIGKILL of the active; sys/leader of and writes to each pod; labels",
	Timeout:   10 * time.Minute,
}

var _ = conformance.It(act08, conformance.Chaos, func(ctx ginkgo.SpecContext, r *conformance.Case) error {
	o := &apiOut{r: r}
	res, err := trial.Run(ctx, r, 1, trial.Plan{Make: o.start, Hold: o.hold})
	if err != nil {
		return err
	}
	measured := func(name string, at time.Time, from time.Time) {
		if !at.IsZero() {
			r.Measure(name, math.Round(float64(at.Sub(from).Milliseconds())))
		}
	}
	measured("activation_ms", res.Elected(), res.At)
	measured("labels_after_api_ms", labelsRight(res), o.back)
	return errors.Join(activated(res, o.back, r.Budget), o.served(res), converged(res, o.back), trial.Ended(res))
})

// apiOut is an outage of the API server, for the Vault pods alone, around the
// death of the active one.
type apiOut struct {
	r       *conformance.Case
	cut     *trial.Blow
	back    time.Time // when it was undone
	refused error     // of the write to the new active pod
}

// start begins the outage and chooses the active pod's process as what dies in
// it.
func (o *apiOut) start(ctx context.Context, states []target.PodState, active target.PodState) (fault.Fault, error) {
	cut := &fault.APIPartition{Env: o.r.Faults, Duration: apiOutageLife}
	for _, s := range states {
		cut.Pods = append(cut.Pods, s.Pod.Name)
	}
	var err error
	if o.cut, err = trial.Strike(ctx, o.r, 2, cut); err != nil {
		return nil, err
	}
	return &fault.ProcessKill{Env: o.r.Faults, Pod: active.Pod.Name}, nil
}

// hold waits for a new active pod, writes to it, proves the outage and ends it.
func (o *apiOut) hold(ctx context.Context, hit trial.Struck) error {
	defer o.cut.Report(ctx)
	end := hit.At.Add(apiOutage)
	outage, cancel := context.WithDeadline(ctx, end)
	defer cancel()
	if pod := trial.AwaitSuccessor(outage, o.r.Target, hit.Active); pod != "" {
		write, cancel := context.WithTimeout(ctx, directWrite)
		o.refused = o.r.Traffic.WriteTo(write, pod, "api-out/1")
		cancel()
	}
	// Whoever takes over wants to change its label, so that there are packets to
	// be dropped, whether it succeeded or not.
	err := o.cut.Witness(ctx)
	if err == nil {
		err = trial.FlowUntil(ctx, o.r, end)
	}
	err = errors.Join(err, o.cut.Undo(ctx))
	o.back = time.Now()
	return err
}

// served judges the write straight to the new active pod.
func (o *apiOut) served(res trial.Result) error {
	if o.refused == nil {
		return nil
	}
	return fmt.Errorf("pod %s took over while the API server was out of reach and refused a write asked of it directly: %w", nameOf(res), o.refused)
}

func nameOf(res trial.Result) string {
	pod, _ := successor(res.Events, res.Active, res.At, res.End)
	return pod
}

// activated judges how long it took until another pod was active; back is when
// the API server was in reach again.
func activated(res trial.Result, back time.Time, budget time.Duration) error {
	if budget <= 0 {
		return errors.New("no budget is set for the activation")
	}
	elected := res.Elected()
	switch {
	case elected.IsZero():
		return fmt.Errorf("no pod became active after %s, with the API server out of reach for %s; want one within %s", res.ID, apiOutage, budget)
	case elected.After(back):
		return fmt.Errorf("no pod became active for %s after %s (%s of %s), until the API server was back; want one within %s: activation waits for a label that cannot be set",
			trial.Round(elected.Sub(res.At)), res.ID, res.Kind, res.Target, budget)
	case elected.Sub(res.At) > budget:
		return fmt.Errorf("a pod became active %s after %s (%s of %s), with the API server out of reach; want one within %s",
			trial.Round(elected.Sub(res.At)), res.ID, res.Kind, res.Target, budget)
	}
	return nil
}

// labelsRight is when the new active pod alone bore the label; zero if never.
func labelsRight(res trial.Result) time.Time {
	if res.Phases.Labelled == nil {
		return time.Time{}
	}
	return res.At.Add(time.Duration(*res.Phases.Labelled * float64(time.Millisecond)))
}

// converged judges how long the labels took once the API server was back.
func converged(res trial.Result, back time.Time) error {
	right := labelsRight(res)
	switch {
	case right.IsZero():
		return fmt.Errorf("%s was never on the new active pod alone until %s, with the API server back since %s; want it within %s",
			target.ActiveLabel, trial.Clock(res.End), trial.Clock(back), converge)
	case right.Sub(back) > converge:
		return fmt.Errorf("%s was on the new active pod alone %s after the API server was back, want it within %s", target.ActiveLabel, trial.Round(right.Sub(back)), converge)
	}
	return nil
}

package resilience

import (
	"context"
	"fmt"
	"time"

	"github.com/onsi/ginkgo/v2"

	"github.com/vaultproof/vaultproof/pkg/conformance"
	"github.com/vaultproof/vaultproof/pkg/fault"
	"github.com/vaultproof/vaultproof/pkg/fault/schedule"
	"github.com/vaultproof/vaultproof/pkg/target"
	"github.com/vaultproof/vaultproof/suites/trial"
)

const (
	// walkPace is the time of one fault in a walk: the longest are held for 20 s, and
	// the pods that they hit are back within half a minute.
	walkPace = time.Minute
	// walkLife is how much longer than it is held a fault lasts if the run dies: its
	// witness may take a minute.
	walkLife = 2 * time.Minute
)

var res13 = conformance.Check{
	ID: "RES-13", Area: area, Level: conformance.Must,
	Assertion: "after each fault of a random walk Vault serves within the budget and is whole, without anybody's help",
	Source:    "faults that come one after another find what one alone does not",
	Observe:   "faults whose kinds, targets and times the seed decides, for as long as -walk says; load through the active Service; all pods unsealed and Ready with one active after each",
	Timeout:   24 * time.Hour, // for any walk; each of its faults has its own
}

var _ = conformance.It(res13, conformance.Chaos, func(ctx ginkgo.SpecContext, r *conformance.Case) error {
	if r.Target.SidecarContainer == "" {
		return r.Skip("the pods of StatefulSet %s have no bootstrap container, so nobody unseals them", r.Target.StatefulSet)
	}
	pods, err := r.Target.Pods(ctx)
	if err != nil {
		return r.CannotTell(err)
	}
	walk := schedule.Walk{Kinds: kindsOf(chances), Faults: int(r.Walk / walkPace), Length: r.Walk}
	for _, p := range pods {
		walk.Targets = append(walk.Targets, p.Name)
	}
	steps, err := walk.Plan(r.Rand)
	if err != nil {
		return r.CannotTell(err)
	}
	for _, s := range steps {
		r.Note("planned: %s", s)
	}
	var released time.Time   // when the fault of the step, if it lasts, began to be undone
	var freed []trial.Result // from then on
	followed, err := trial.Follow(ctx, r, steps, func(s schedule.Step) trial.Plan {
		released = time.Time{}
		p := trial.Plan{
			Make: func(ctx context.Context, states []target.PodState, active target.PodState) (fault.Fault, error) {
				return take(ctx, s, moment{r: r, states: states, active: active, life: s.Hold + walkLife})
			},
		}
		if s.Hold > 0 {
			p.Hold = func(ctx context.Context, _ trial.Struck) error {
				err := r.Traffic.Flow(ctx, s.Hold)
				released = time.Now()
				return r.CannotTell(err)
			}
		}
		return p
	}, func(_ schedule.Step, res trial.Result) error {
		freed = append(freed, endOf(res, released))
		return trial.Ended(res)
	})
	r.Measure("faults_total", float64(len(followed.Results)))
	r.Measure("left_out_total", float64(len(followed.LeftOut)))
	if err != nil {
		return err
	}
	if len(followed.Results) == 0 {
		return fmt.Errorf("not one of the %d faults of the walk could be injected, the last: %w", len(steps), followed.LeftOut[len(followed.LeftOut)-1])
	}
	return trial.HeldToBudget(r, freed, r.Budget)
})

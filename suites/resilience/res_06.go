package resilience

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/onsi/ginkgo/v2"

	"github.com/vaultproof/vaultproof/pkg/conformance"
	"github.com/vaultproof/vaultproof/pkg/fault"
	"github.com/vaultproof/vaultproof/pkg/target"
	"github.com/vaultproof/vaultproof/suites/trial"
)

const (
	// zoneLife is after how long the zone comes back by itself, should the run die:
	// longer than it is ever held.
	zoneLife = 60 * time.Second
	// zoneAfter is how long the zone stays lost after the election: time for the others
	// to show that they need nothing from it.
	zoneAfter = 6 * time.Second
	// zoneLookEvery is how often the pods are looked at meanwhile.
	zoneLookEvery = 2 * time.Second
)

// RES-05 cuts Vault's pods off from each other alone. Here the whole zone is gone, with
// clients, custody, DNS and the API server on the far side, and the kubelet cannot probe
// its pods any more: what works there is of no use to anybody.
var res06 = conformance.Check{
	ID: "RES-06", Area: area, Level: conformance.Must,
	Assertion: "when the active's zone is lost the service is back within its budget, the other zones keep the quorum without it, and the zone joins in again",
	Source:    "one voter in each zone (ISO-03); hashicorp/vault#22063",
	Observe:   "every pod on the nodes with the zone's label cut off from everything; load through the active Service; sys/health and sys/leader of every pod meanwhile",
	Timeout:   30 * time.Minute,
}

var _ = conformance.It(res06, conformance.Chaos, func(ctx ginkgo.SpecContext, r *conformance.Case) error {
	var lost *fault.ZonePartition // who is where
	var looks []zoneLook
	return trial.Outages(ctx, r, trial.Plan{
		Make: func(_ context.Context, states []target.PodState, active target.PodState) (fault.Fault, error) {
			var err error
			if lost, err = trial.Partition(r, states, active, zoneLife); err != nil {
				return nil, err
			}
			return &fault.ZoneLoss{Env: r.Faults, Zone: lost.Zone, Duration: zoneLife}, nil
		},
		Hold: func(ctx context.Context, hit trial.Struck) error {
			var err error
			looks, err = watchSurvivors(ctx, r, hit)
			return err
		},
		Outage: r.Budget,
	}, func(res trial.Result) error {
		if err := trial.TookOver(res); err != nil {
			return err
		}
		if err := quorumKept(lost.Zone, lost.Outside, looks); err != nil {
			return err
		}
		elected := res.Elected()
		return noneAcknowledged(res.Active, elected, reelected(res, elected), r.Traffic.Ops())
	})
})

// zoneLook is what all pods said of themselves once.
type zoneLook struct {
	at     time.Time
	states []target.PodState
}

// watchSurvivors waits for the election and then looks at the pods for a while.
func watchSurvivors(ctx context.Context, r *conformance.Case, hit trial.Struck) ([]zoneLook, error) {
	election, cancel := context.WithTimeout(ctx, electionTimeout)
	defer cancel()
	if trial.AwaitSuccessor(election, r.Target, hit.Active) == "" && ctx.Err() == nil {
		return nil, nil // the judgement of the trial says that nobody took over
	}
	var looks []zoneLook
	for end := time.Now().Add(zoneAfter); time.Now().Before(end); {
		if err := r.Traffic.Flow(ctx, zoneLookEvery); err != nil {
			return looks, r.CannotTell(err)
		}
		at := time.Now()
		states, err := r.Target.State(ctx)
		if err != nil {
			return looks, r.CannotTell(err)
		}
		looks = append(looks, zoneLook{at, states})
	}
	return looks, nil
}

// quorumKept judges the pods outside of the lost zone: all unsealed, and one of them
// active.
func quorumKept(zone string, outside []string, looks []zoneLook) error {
	if len(looks) == 0 {
		return fmt.Errorf("nobody looked at the pods %s while zone %s was lost, so that they kept the quorum is not shown", strings.Join(outside, ", "), zone)
	}
	for _, look := range looks {
		var active []string
		for _, s := range look.states {
			if !slices.Contains(outside, s.Pod.Name) {
				continue
			}
			if s.Err != nil {
				return fmt.Errorf("at %s pod %s did not answer while zone %s, which it is not in, was lost: %w", trial.Clock(look.at), s.Pod.Name, zone, s.Err)
			}
			if !s.Unsealed() {
				return fmt.Errorf("at %s pod %s said initialized=%t, sealed=%t while zone %s, which it is not in, was lost; want it unsealed: two of three voters are a quorum",
					trial.Clock(look.at), s.Pod.Name, s.Initialized, s.Sealed, zone)
			}
			if s.IsSelf {
				active = append(active, s.Pod.Name)
			}
		}
		if len(active) != 1 {
			return fmt.Errorf("at %s, while zone %s was lost, sys/leader said is_self on %d of the pods %s elsewhere %v; want one of them active all the time",
				trial.Clock(look.at), zone, len(active), strings.Join(outside, ", "), active)
		}
	}
	return nil
}

package trial

import (
	"time"

	"github.com/vaultproof/vaultproof/pkg/conformance"
	"github.com/vaultproof/vaultproof/pkg/fault"
	"github.com/vaultproof/vaultproof/pkg/target"
)

// Partition chooses to cut the zone of the active pod off from the other Vault pods, for
// the life given at most, unless there is no zone, or no majority outside of it.
func Partition(r *conformance.Case, states []target.PodState, active target.PodState, life time.Duration) (*fault.ZonePartition, error) {
	if active.Zone == "" {
		return nil, r.Skip("node %s of the active pod %s has no label %s, so there is no zone to cut off", active.Pod.Spec.NodeName, active.Pod.Name, target.ZoneLabel)
	}
	p := &fault.ZonePartition{Env: r.Faults, Zone: active.Zone, Duration: life}
	for _, s := range states {
		if s.Zone == active.Zone {
			p.Inside = append(p.Inside, s.Pod.Name)
		} else {
			p.Outside = append(p.Outside, s.Pod.Name)
		}
	}
	if 2*len(p.Outside) <= len(states) {
		return nil, r.Skip("%d of %d Vault pods are in zone %s: the rest has no majority to elect with", len(p.Inside), len(states), active.Zone)
	}
	return p, nil
}

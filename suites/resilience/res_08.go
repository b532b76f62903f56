package resilience

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/onsi/ginkgo/v2"

	"github.com/vaultproof/vaultproof/pkg/conformance"
	"github.com/vaultproof/vaultproof/pkg/fault"
	"github.com/vaultproof/vaultproof/pkg/target"
	"github.com/vaultproof/vaultproof/suites/trial"
)

var res08 = conformance.Check{
	ID: "RES-08", Area: area, Level: conformance.Must,
	Assertion: "after all Vault pods were killed the same cluster is back within its budget, with custody alone and without anybody's help",
	Source:    "hashicorp/vault#17470",
	Observe:   "forced deletion of every Vault pod at once; load through the active Service; cluster_id and versions in custody before and after",
	Timeout:   30 * time.Minute,
}

var _ = conformance.It(res08, conformance.Chaos, func(ctx ginkgo.SpecContext, r *conformance.Case) error {
	if r.Target.SidecarContainer == "" {
		return r.Skip("the pods of StatefulSet %s have no bootstrap container, so nobody unseals them", r.Target.StatefulSet)
	}
	var before cluster
	return trial.Outages(ctx, r, trial.Plan{
		Make: func(ctx context.Context, states []target.PodState, _ target.PodState) (fault.Fault, error) {
			var err error
			if before, err = clusterOf(ctx, r, states); err != nil {
				return nil, err
			}
			all := &fault.AllPodsDelete{Env: r.Faults}
			for _, s := range states {
				all.Pods = append(all.Pods, s.Pod.Name)
			}
			return all, nil
		},
		Outage: r.Budget,
	}, func(trial.Result) error {
		states, err := r.Target.State(ctx)
		if err != nil {
			return r.CannotTell(err)
		}
		after, err := clusterOf(ctx, r, states)
		if err != nil {
			return err
		}
		return sameAgain(before, after)
	})
})

// cluster is by what one Vault is told from another: what each pod says, and how often
// each share was ever stored.
type cluster struct {
	ids      map[string]string // cluster_id by pod
	versions map[string]int    // by secret
}

func clusterOf(ctx context.Context, r *conformance.Case, states []target.PodState) (cluster, error) {
	c := cluster{ids: map[string]string{}}
	for _, s := range states {
		if s.Err != nil {
			return c, r.CannotTell(fmt.Errorf("pod %s: %w", s.Pod.Name, s.Err))
		}
		c.ids[s.Pod.Name] = s.ClusterID
	}
	all, err := r.Target.CustodyVersions(ctx)
	if err != nil {
		return c, r.CannotTell(err)
	}
	// The shares alone: a token may be due for renewal just then.
	maps.DeleteFunc(all, func(name string, _ int) bool {
		return !strings.HasPrefix(name, r.Target.CustodyPrefix+"-"+target.ShareSecret)
	})
	c.versions = all
	return c, nil
}

// sameAgain judges whether the cluster is the one that was there before.
func sameAgain(before, after cluster) error {
	for _, pod := range slices.Sorted(maps.Keys(before.ids)) {
		if after.ids[pod] != before.ids[pod] {
			return fmt.Errorf("pod %s tells cluster_id %q after all pods were killed, it was %q: it is another cluster", pod, after.ids[pod], before.ids[pod])
		}
	}
	names := maps.Clone(before.versions)
	maps.Copy(names, after.versions)
	for _, name := range slices.Sorted(maps.Keys(names)) {
		if before.versions[name] != after.versions[name] {
			return fmt.Errorf("%s went from %d to %d versions in custody when all pods were killed, want no share made anew", name, before.versions[name], after.versions[name])
		}
	}
	return nil
}

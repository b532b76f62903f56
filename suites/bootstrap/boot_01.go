package bootstrap

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/onsi/ginkgo/v2"

	"github.com/vaultproof/vaultproof/pkg/conformance"
	"github.com/vaultproof/vaultproof/pkg/target"
)

var boot01 = conformance.Check{
	ID: "BOOT-01", Area: area, Level: conformance.Must, Manner: conformance.Reads,
	Assertion: "exactly one init: every pod reports the same cluster_id and raft's configuration has all servers as voters",
	Source:    "hashicorp/vault#19952",
	Observe:   "GET sys/health on every pod; GET sys/storage/raft/configuration",
}

var _ = conformance.It(boot01, conformance.Conformance, func(ctx ginkgo.SpecContext, r *conformance.Case) error {
	states, err := r.Target.State(ctx)
	if err != nil {
		return r.CannotTell(err)
	}
	ids := make([]identity, 0, len(states))
	for _, s := range states {
		if s.Err != nil {
			return fmt.Errorf("pod %s: %w", s.Pod.Name, s.Err)
		}
		ids = append(ids, identity{pod: s.Pod.Name, sealed: s.Sealed, initialized: s.Initialized, clusterID: s.ClusterID})
	}
	if err := oneCluster(ids); err != nil {
		return err
	}
	servers, err := r.Target.RaftServers(ctx)
	if errors.Is(err, target.ErrNoPrivilege) {
		return r.Skip("raft's configuration cannot be read: %v", err)
	}
	if err != nil {
		return r.CannotTell(err)
	}
	r.Measure("raft_servers_total", float64(len(servers)))
	return target.AllVote(servers, r.Target.Replicas)
})

// identity is what a pod says of the cluster that it belongs to.
type identity struct {
	pod, clusterID      string
	initialized, sealed bool
}

// oneCluster judges whether all pods belong to one initialised cluster.
func oneCluster(ids []identity) error {
	if len(ids) == 0 {
		return errors.New("there is no Vault pod")
	}
	byID := map[string][]string{}
	for _, id := range ids {
		switch {
		case !id.initialized:
			return fmt.Errorf("sys/health of pod %s says initialized=false, want true on every pod", id.pod)
		case id.sealed:
			return fmt.Errorf("sys/health of pod %s says sealed=true, so it tells no cluster_id", id.pod)
		case id.clusterID == "":
			return fmt.Errorf("sys/health of pod %s tells no cluster_id", id.pod)
		}
		byID[id.clusterID] = append(byID[id.clusterID], id.pod)
	}
	if len(byID) == 1 {
		return nil
	}
	var words []string
	for id, pods := range byID {
		words = append(words, fmt.Sprintf("%s on %s", id, strings.Join(pods, ", ")))
	}
	slices.Sort(words)
	return fmt.Errorf("sys/health tells %d cluster_ids (%s), want one: Vault was initialised more than once (hashicorp/vault#19952)", len(byID), strings.Join(words, "; "))
}

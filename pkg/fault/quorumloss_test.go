package fault

import (
	"errors"
	"maps"
	"slices"
	"testing"
	"time"

	"github.com/chaos-mesh/chaos-mesh/api/v1alpha1"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/client-go/kubernetes/fake"
	ctrlfake "sigs.k8s.io/controller-runtime/pkg/client/fake"
)

func TestEveryPairOfPodsIsParted(t *testing.T) {
	client := fake.NewClientset(daemonAt("n"))
	names := []string{"vault-0", "vault-1", "vault-2"}
	for _, name := range names {
		pod := &corev1.Pod{ObjectMeta: labelled(name, nil), Spec: corev1.PodSpec{NodeName: "n"}}
		if err := client.Tracker().Add(pod); err != nil {
			t.Fatal(err)
		}
	}
	chaos := ctrlfake.NewClientBuilder().WithScheme(chaosScheme(t)).Build()
	env := &Env{Client: client, Chaos: chaos, Namespace: "vault", Container: "vault", RunID: "r"}
	lost := &quorumLost{fault: &QuorumLoss{Env: env, Pods: names, Duration: time.Minute}}
	if err := lost.part(t.Context()); err != nil {
		t.Fatal(err)
	}
	var list v1alpha1.NetworkChaosList
	if err := chaos.List(t.Context(), &list); err != nil {
		t.Fatal(err)
	}
	pairs := map[string]bool{}
	for _, o := range list.Items {
		one, other := o.Spec.Selector.Pods["vault"], o.Spec.Target.Selector.Pods["vault"]
		if len(one) != 1 || len(other) != 1 || o.Spec.Direction != v1alpha1.Both || *o.Spec.Duration != "1m0s" {
			t.Errorf("%s parts %v from %v (%s, %s), want one pod from one, both ways, for a minute", o.Name, one, other, o.Spec.Direction, *o.Spec.Duration)
			continue
		}
		pairs[one[0]+" "+other[0]] = true
	}
	want := []string{"vault-0 vault-1", "vault-0 vault-2", "vault-1 vault-2"}
	if got := slices.Sorted(maps.Keys(pairs)); !slices.Equal(got, want) {
		t.Errorf("parted are %q, want %q", got, want)
	}
	if err := lost.Recover(t.Context()); err != nil {
		t.Fatal(err)
	}
	if err := chaos.List(t.Context(), &list); err != nil || len(list.Items) != 0 {
		t.Errorf("%d cuts are left behind (%v)", len(list.Items), err)
	}
}

func TestQuorumIsNotLostByOnePod(t *testing.T) {
	_, err := (&QuorumLoss{Env: &Env{}, Pods: []string{"vault-0"}}).Inject(t.Context())
	if !errors.Is(err, ErrUnavailable) {
		t.Errorf("one pod: %v, want ErrUnavailable", err)
	}
}

// The same cut shows at both ends and in both directions, and is one all the same: two
// pairs that are cut must not pass for three.
func TestACutCountsOnce(t *testing.T) {
	first := map[string]uint64{
		"OUTPUT/vault_a -o eth0 -m set --match-set x dst -j DROP": 4,
		"INPUT/vault_a -i eth0 -m set --match-set x src -j DROP":  0,
		"OUTPUT/vault_b -o eth0 -m set --match-set y dst -j DROP": 7,
	}
	if got := droppingCuts(first, first); len(got) != 0 {
		t.Errorf("counters that stand still show %v", got)
	}
	now := map[string]uint64{
		"OUTPUT/vault_a -o eth0 -m set --match-set x dst -j DROP": 9,
		"INPUT/vault_a -i eth0 -m set --match-set x src -j DROP":  3,
		"OUTPUT/vault_b -o eth0 -m set --match-set y dst -j DROP": 7,
		"OUTPUT/vault_c -o eth0 -m set --match-set z dst -j DROP": 1, // since
	}
	if got := slices.Sorted(maps.Keys(droppingCuts(first, now))); !slices.Equal(got, []string{"vault_a", "vault_c"}) {
		t.Errorf("dropping are %v, want vault_a and vault_c", got)
	}
}

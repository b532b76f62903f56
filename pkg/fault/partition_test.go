package fault

import (
	"maps"
	"slices"
	"testing"
	"time"

	"github.com/chaos-mesh/chaos-mesh/api/v1alpha1"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/client-go/kubernetes/fake"
	ctrlfake "sigs.k8s.io/controller-runtime/pkg/client/fake"
)

// Chaos Mesh applies the external targets of an object to both of its sides: the pods
// outside would lose the API server too, and nobody could move the label.
func TestOnlyTheZoneIsCutOffFromWhatIsExternal(t *testing.T) {
	client := fake.NewClientset(
		&corev1.Pod{ObjectMeta: labelled("vault-0", nil), Spec: corev1.PodSpec{NodeName: "n"}}, daemonAt("n"),
	)
	chaos := ctrlfake.NewClientBuilder().WithScheme(chaosScheme(t)).Build()
	env := &Env{Client: client, Chaos: chaos, Namespace: "vault", Container: "vault", RunID: "r"}
	injected, err := (&ZonePartition{
		Env: env, Zone: "a", Inside: []string{"vault-0"}, Outside: []string{"vault-1", "vault-2"},
		External: []string{"10.96.0.1"}, Duration: time.Minute,
	}).Inject(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	objects := func() []v1alpha1.NetworkChaos {
		var list v1alpha1.NetworkChaosList
		if err := chaos.List(t.Context(), &list); err != nil {
			t.Fatal(err)
		}
		return list.Items
	}
	external := 0
	for _, o := range objects() {
		if !slices.Equal(o.Spec.Selector.Pods["vault"], []string{"vault-0"}) {
			t.Errorf("%s is about %v, want vault-0", o.Name, o.Spec.Selector.Pods)
		}
		if len(o.Spec.ExternalTargets) > 0 {
			external++
			if o.Spec.Target != nil {
				t.Errorf("%s has pods outside and external addresses at once", o.Name)
			}
		}
	}
	if external != 1 {
		t.Errorf("%d objects cut vault-0 off from the API server, want 1", external)
	}
	if err := injected.Recover(t.Context()); err != nil {
		t.Fatal(err)
	}
	if left := objects(); len(left) > 0 {
		t.Errorf("%d objects are left behind", len(left))
	}
}

// One way is the zone's word that does not arrive, the other what it does not hear.
func TestPartitionInOneDirection(t *testing.T) {
	chaos := ctrlfake.NewClientBuilder().WithScheme(chaosScheme(t)).Build()
	pod := &corev1.Pod{ObjectMeta: labelled("vault-0", nil), Spec: corev1.PodSpec{NodeName: "n"}}
	env := &Env{Client: fake.NewClientset(pod, daemonAt("n")), Chaos: chaos, Namespace: "vault", Container: "vault", RunID: "r"}
	f := &ZonePartition{
		Env: env, Zone: "a", Inside: []string{"vault-0"}, Outside: []string{"vault-1", "vault-2"},
		External: []string{"10.96.0.1"}, Direction: v1alpha1.To, Duration: time.Minute,
	}
	if f.Target() != "a (vault-0), what it sends" {
		t.Errorf("target %q does not tell the direction", f.Target())
	}
	if _, err := f.Inject(t.Context()); err != nil {
		t.Fatal(err)
	}
	var list v1alpha1.NetworkChaosList
	if err := chaos.List(t.Context(), &list); err != nil || len(list.Items) != 2 {
		t.Fatalf("%d objects (%v), want 2", len(list.Items), err)
	}
	for _, o := range list.Items {
		if o.Spec.Direction != v1alpha1.To {
			t.Errorf("%s is in direction %q, want to", o.Name, o.Spec.Direction)
		}
	}
}

func TestADropInTheOtherDirectionIsNoWitness(t *testing.T) {
	both := map[string]uint64{"INPUT/x -i eth0 -j DROP": 7, "OUTPUT/x -o eth0 -j DROP": 9}
	for direction, want := range map[v1alpha1.Direction][]string{
		v1alpha1.To:   {"OUTPUT/x -o eth0 -j DROP"},
		v1alpha1.From: {"INPUT/x -i eth0 -j DROP"},
		v1alpha1.Both: {"INPUT/x -i eth0 -j DROP", "OUTPUT/x -o eth0 -j DROP"},
	} {
		if got := slices.Sorted(maps.Keys(directed(maps.Clone(both), direction))); !slices.Equal(got, want) {
			t.Errorf("direction %s: rules %v, want %v", direction, got, want)
		}
	}
}

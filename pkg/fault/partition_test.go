package fault

import (
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

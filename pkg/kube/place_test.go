package kube

import (
	"testing"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes/fake"
)

func TestServicesNode(t *testing.T) {
	vault := &corev1.Node{ObjectMeta: metav1.ObjectMeta{Name: "a", Labels: map[string]string{"dedicated": "vault"}}}
	services := &corev1.Node{ObjectMeta: metav1.ObjectMeta{Name: "b", Labels: map[string]string{RoleLabel: RoleServices}}}
	if got, err := ServicesNode(t.Context(), fake.NewClientset(vault)); err != nil || got != nil {
		t.Errorf("without such a node: %v, %v", got, err)
	}
	if got, err := ServicesNode(t.Context(), fake.NewClientset(vault, services)); err != nil || got[RoleLabel] != RoleServices {
		t.Errorf("with such a node: %v, %v", got, err)
	}
}

func TestEnsureNamespace(t *testing.T) {
	theirs := &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: "theirs"}}
	client := fake.NewClientset(theirs)
	for range 2 { // twice is fine
		for _, name := range []string{"ours", "theirs"} {
			if err := EnsureNamespace(t.Context(), client, name); err != nil {
				t.Fatal(err)
			}
		}
	}
	for name, want := range map[string]string{"ours": ManagedBy, "theirs": ""} {
		ns, err := client.CoreV1().Namespaces().Get(t.Context(), name, metav1.GetOptions{})
		if err != nil || ns.Labels[ManagedByLabel] != want {
			t.Errorf("namespace %s has labels %v (%v), want managed by %q", name, ns.Labels, err, want)
		}
	}
}

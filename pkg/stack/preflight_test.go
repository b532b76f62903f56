package stack

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	authorizationv1 "k8s.io/api/authorization/v1"
	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/client-go/kubernetes/fake"
	clienttesting "k8s.io/client-go/testing"

	"github.com/vaultproof/vaultproof/pkg/kube"
)

func node(i int) *corev1.Node {
	return &corev1.Node{
		ObjectMeta: metav1.ObjectMeta{Name: fmt.Sprintf("node-%d", i), Labels: map[string]string{"dedicated": "vault", zoneLabel: fmt.Sprintf("zone-%d", i)}},
		Status:     corev1.NodeStatus{Conditions: []corev1.NodeCondition{{Type: corev1.NodeReady, Status: corev1.ConditionTrue}}},
	}
}

// client is a cluster where everything is allowed but refused.
func client(refused string, objects ...runtime.Object) *fake.Clientset {
	c := fake.NewClientset(objects...)
	c.PrependReactor("create", "selfsubjectaccessreviews", func(action clienttesting.Action) (bool, runtime.Object, error) {
		review := action.(clienttesting.CreateAction).GetObject().(*authorizationv1.SelfSubjectAccessReview)
		review.Status.Allowed = review.Spec.ResourceAttributes.Resource != refused
		return true, review, nil
	})
	return c
}

func TestPreflight(t *testing.T) {
	ours := &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: "vault", Labels: map[string]string{kube.ManagedByLabel: kube.ManagedBy}}}
	if err := preflight(t.Context(), client("", node(0), node(1), node(2), ours), "vault"); err != nil {
		t.Error(err)
	}
	cordoned, down := node(1), node(2)
	cordoned.Spec.Unschedulable = true
	down.Status.Conditions = nil
	foreign := &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: "vault"}}
	for want, c := range map[string]*fake.Clientset{
		"no node bears the label dedicated=vault":               client(""),
		"kubectl label node NAME dedicated=vault":               client(""),
		"2 of the 3 nodes that Vault needs":                     client("", node(0), node(1)),
		"node node-1 is cordoned (kubectl uncordon node-1)":     client("", node(0), cordoned, node(2)),
		"node node-2 is not ready":                              client("", node(0), node(1), down),
		"may not patch statefulsets in namespace vault":         client("statefulsets", node(0), node(1), node(2)),
		"may not create namespaces in the cluster":              client("namespaces", node(0), node(1), node(2)),
		"namespace vault exists and was not made by vaultproof": client("", node(0), node(1), node(2), foreign),
	} {
		if err := preflight(t.Context(), c, "vault"); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("got %v, want %q", err, want)
		}
	}
}

func TestAPIServerAddresses(t *testing.T) {
	service := &corev1.Service{ObjectMeta: metav1.ObjectMeta{Name: "kubernetes", Namespace: "default"},
		Spec: corev1.ServiceSpec{ClusterIPs: []string{"10.96.0.1"}, Ports: []corev1.ServicePort{{Port: 443}}}}
	slice := &discoveryv1.EndpointSlice{ObjectMeta: metav1.ObjectMeta{Name: "kubernetes", Namespace: "default", Labels: map[string]string{discoveryv1.LabelServiceName: "kubernetes"}},
		Endpoints: []discoveryv1.Endpoint{{Addresses: []string{"172.18.0.2"}}}, Ports: []discoveryv1.EndpointPort{{Port: pointer(int32(6443))}}}
	got, err := apiServer(t.Context(), client("", service, slice))
	if want := []address{{"10.96.0.1/32", 443}, {"172.18.0.2/32", 6443}}; err != nil || !slices.Equal(got, want) {
		t.Errorf("got %v, %v; want %v", got, err, want)
	}
	if _, err := apiServer(t.Context(), client("")); err == nil {
		t.Error("a cluster without the kubernetes Service has no address")
	}
}

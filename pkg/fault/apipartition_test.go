package fault

import (
	"errors"
	"slices"
	"strings"
	"testing"

	"github.com/chaos-mesh/chaos-mesh/api/v1alpha1"
	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes/fake"
	ctrlfake "sigs.k8s.io/controller-runtime/pkg/client/fake"
)

func apiServer() (*corev1.Service, *discoveryv1.EndpointSlice) {
	meta := func(name string, labels map[string]string) metav1.ObjectMeta {
		return metav1.ObjectMeta{Namespace: apiNamespace, Name: name, Labels: labels}
	}
	return &corev1.Service{ObjectMeta: meta(apiService, nil), Spec: corev1.ServiceSpec{ClusterIPs: []string{"10.96.0.1"}}},
		&discoveryv1.EndpointSlice{
			ObjectMeta: meta("kubernetes-x", map[string]string{discoveryv1.LabelServiceName: apiService}),
			Endpoints:  []discoveryv1.Endpoint{{Addresses: []string{"172.18.0.2"}}},
		}
}

// Both the Service's address and those behind it must be dropped: which of them
// a pod's packet filter sees depends on how the pod reaches the API server.
func TestAPIServerAddresses(t *testing.T) {
	service, slice := apiServer()
	got, err := (&Env{Client: fake.NewClientset(service, slice)}).APIServerAddresses(t.Context())
	if err != nil || !slices.Equal(got, []string{"10.96.0.1", "172.18.0.2"}) {
		t.Errorf("addresses %v (%v)", got, err)
	}
	bare := &corev1.Service{ObjectMeta: service.ObjectMeta}
	if _, err := (&Env{Client: fake.NewClientset(bare)}).APIServerAddresses(t.Context()); !errors.Is(err, ErrUnavailable) {
		t.Errorf("without any address: %v, want ErrUnavailable", err)
	}
	if _, err := (&Env{Client: fake.NewClientset()}).APIServerAddresses(t.Context()); err == nil {
		t.Error("without the Service there are addresses")
	}
}

func TestAPIPartitionIsUndoneIfItNeverComesIntoForce(t *testing.T) {
	service, slice := apiServer()
	pod := &corev1.Pod{ObjectMeta: labelled("vault-0", nil), Spec: corev1.PodSpec{NodeName: "n"}}
	chaos := ctrlfake.NewClientBuilder().WithScheme(chaosScheme(t)).Build()
	env := &Env{Client: fake.NewClientset(service, slice, pod, daemonAt("n")), Chaos: chaos, Namespace: "vault", Container: "vault", RunID: "r"}
	old := settleTimeout
	settleTimeout = 2 * pollEvery
	t.Cleanup(func() { settleTimeout = old })
	_, err := (&APIPartition{Env: env, Pods: []string{"vault-0"}}).Inject(t.Context())
	if err == nil || !strings.Contains(err.Error(), "is in force") {
		t.Errorf("a partition that Chaos Mesh ignores: %v", err)
	}
	var list v1alpha1.NetworkChaosList
	if err := chaos.List(t.Context(), &list); err != nil || len(list.Items) != 0 {
		t.Errorf("%d objects are left (%v)", len(list.Items), err)
	}
	if _, err := (&APIPartition{Env: env}).Inject(t.Context()); !errors.Is(err, ErrUnavailable) {
		t.Errorf("no pods: %v, want ErrUnavailable", err)
	}
}

func TestInForce(t *testing.T) {
	status := func(s corev1.ConditionStatus) *v1alpha1.ChaosStatus {
		return &v1alpha1.ChaosStatus{Conditions: []v1alpha1.ChaosCondition{{Type: v1alpha1.ConditionAllInjected, Status: s}}}
	}
	if !inForce(status(corev1.ConditionTrue)) || inForce(status(corev1.ConditionFalse)) || inForce(&v1alpha1.ChaosStatus{}) {
		t.Error("a fault is taken to be in force without Chaos Mesh saying so, or the other way round")
	}
}

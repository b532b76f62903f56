package fault

import (
	"errors"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/chaos-mesh/chaos-mesh/api/v1alpha1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes/fake"
	ctrlfake "sigs.k8s.io/controller-runtime/pkg/client/fake"
)

func clientPod(namespace, name, ip string) corev1.Pod {
	return corev1.Pod{
		ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: name, Labels: map[string]string{"client": "vault"}},
		Spec:       corev1.PodSpec{NodeName: "n"},
		Status:     corev1.PodStatus{Phase: corev1.PodRunning, PodIPs: []corev1.PodIP{{IP: ip}}},
	}
}

// To cut off a Vault pod would be a partition between peers; to cut off the address of a
// node, one from the kubelet.
func TestClientAddresses(t *testing.T) {
	vault, host, over := clientPod("vault", "vault-0", "10.0.0.1"), clientPod("x", "host", "172.18.0.3"), clientPod("x", "over", "10.0.0.9")
	host.Spec.HostNetwork = true
	over.Status.Phase = corev1.PodSucceeded
	pods := []corev1.Pod{clientPod("b", "prober", "10.0.0.7"), vault, host, over, clientPod("a", "proxy", "10.0.0.5")}
	got := clientAddresses(pods, "vault", []string{"vault-0"})
	if want := []string{"10.0.0.5", "10.0.0.7"}; !slices.Equal(got, want) {
		t.Errorf("addresses %v, want %v", got, want)
	}
}

func TestClientPartitionLeavesPeersAlone(t *testing.T) {
	fastSettling(t)
	prober := clientPod("b", "prober", "10.0.0.7")
	vault := &corev1.Pod{ObjectMeta: labelled("vault-0", nil), Spec: corev1.PodSpec{NodeName: "n"}}
	chaos := ctrlfake.NewClientBuilder().WithScheme(chaosScheme(t)).WithInterceptorFuncs(settling).Build()
	env := &Env{Client: fake.NewClientset(vault, &prober, daemonAt("n")), Chaos: chaos, Namespace: "vault", RunID: "r"}
	cut, err := (&ClientPartition{Env: env, Pods: []string{"vault-0"}, Clients: "client=vault", Duration: time.Minute}).Inject(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	var list v1alpha1.NetworkChaosList
	if err := chaos.List(t.Context(), &list); err != nil || len(list.Items) != 1 {
		t.Fatalf("%d objects (%v), want 1", len(list.Items), err)
	}
	spec := list.Items[0].Spec
	if spec.Target != nil || !slices.Equal(spec.ExternalTargets, []string{"10.0.0.7"}) || *spec.Duration != "1m0s" {
		t.Errorf("target %v, addresses %v, duration %s; want the prober's address alone, for a minute", spec.Target, spec.ExternalTargets, *spec.Duration)
	}
	if err := cut.Recover(t.Context()); err != nil {
		t.Fatal(err)
	}

	_, err = (&ClientPartition{Env: env, Pods: []string{"vault-0"}, Clients: "client=nobody"}).Inject(t.Context())
	if !errors.Is(err, ErrUnavailable) || !strings.Contains(err.Error(), "of 0 pods with client=nobody") {
		t.Errorf("without clients: %v", err)
	}
}

package isolation

import (
	"context"
	"encoding/json"
	"errors"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/client-go/kubernetes/fake"
	kubetesting "k8s.io/client-go/testing"

	"github.com/vaultproof/vaultproof/pkg/target"
)

// visited is a party in a cluster whose pods are at once as become says.
func visited(t *testing.T, become func(*corev1.Pod)) (*party, *fake.Clientset) {
	t.Helper()
	client := fake.NewClientset()
	client.PrependReactor("create", "pods", func(action kubetesting.Action) (bool, runtime.Object, error) {
		become(action.(kubetesting.CreateAction).GetObject().(*corev1.Pod))
		return false, nil, nil
	})
	var mu sync.Mutex
	var undo []func(context.Context) error
	t.Cleanup(func() {
		for _, f := range undo {
			if err := f(context.Background()); err != nil {
				t.Error(err)
			}
		}
		left, err := client.CoreV1().Pods("").List(context.Background(), metav1.ListOptions{})
		if err != nil || len(left.Items) > 0 {
			t.Errorf("%d guests are left behind (%v)", len(left.Items), err)
		}
	})
	return &party{client: client, check: "iso-05", run: "r1", cleanup: func(f func(context.Context) error) {
		mu.Lock()
		defer mu.Unlock()
		undo = append(undo, f)
	}}, client
}

func TestAGuestHasNoRightsAndIsNeverServed(t *testing.T) {
	p, _ := visited(t, func(*corev1.Pod) {})
	pod := p.manifest(guest{role: "peer", namespace: "vault", labels: map[string]string{"component": "server"}, doors: []door{doorTo("x", "10.0.0.9", 8200, shut)}},
		guest{doors: []door{doorTo("x", "10.0.0.9", 8200, shut)}}.args()...)
	spec := pod.Spec
	if len(spec.ReadinessGates) != 1 || *spec.AutomountServiceAccountToken || pod.Labels[target.RunLabel] != "r1" || pod.Labels["component"] != "server" {
		t.Errorf("guest %+v", pod)
	}
	if !slices.Equal(spec.Containers[0].Args, []string{"matrix", "shut=10.0.0.9:8200"}) || len(pod.Name) > 63 {
		t.Errorf("guest %s is told %v", pod.Name, spec.Containers[0].Args)
	}
	if mayTrace(spec.Containers[0].SecurityContext) != "" || !*spec.SecurityContext.RunAsNonRoot {
		t.Errorf("guest %+v is not restricted", spec)
	}
}

func TestHost(t *testing.T) {
	p, _ := visited(t, func(pod *corev1.Pod) {
		pod.Status.Phase, pod.Status.PodIP = corev1.PodRunning, "10.0.0.7"
	})
	if ip, err := p.host(t.Context(), []int32{8200, 8201}); err != nil || ip != "10.0.0.7" {
		t.Errorf("host at %q (%v)", ip, err)
	}
	failed, _ := visited(t, func(pod *corev1.Pod) {
		pod.Status.Phase = corev1.PodFailed
		pod.Status.ContainerStatuses = []corev1.ContainerStatus{{State: corev1.ContainerState{Terminated: &corev1.ContainerStateTerminated{ExitCode: 2}}}}
	})
	_, err := failed.host(t.Context(), []int32{8200})
	says(t, "a host that ended", err, "vaultproof-iso-05-host-r1", "exit code 2")
	ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
	defer cancel()
	stuck, _ := visited(t, func(pod *corev1.Pod) {
		pod.Status.Conditions = []corev1.PodCondition{{Type: corev1.PodScheduled, Status: corev1.ConditionFalse, Message: "0/4 nodes are available"}}
	})
	_, err = stuck.host(ctx, []int32{8200})
	says(t, "a host without a node", err, "0/4 nodes are available")
}

func TestVisit(t *testing.T) {
	defer func(lag time.Duration) { logLag = lag }(logLag)
	logLag = 100 * time.Millisecond
	doors := []door{doorTo("vault-0", "10.0.0.9", 8200, shut)}
	p, client := visited(t, func(pod *corev1.Pod) { pod.Status.Phase, pod.Status.HostIP = corev1.PodSucceeded, "172.18.0.3" })
	guests := []guest{
		{role: "stranger", who: "a stranger", namespace: elsewhere, doors: doors},
		{role: "neighbour", who: "a neighbour", namespace: "vault", doors: doors, outbound: true},
	}
	// The fake cluster's logs are always "fake logs".
	for _, g := range guests {
		_, err := p.visit(t.Context(), []guest{g})
		says(t, "a prober that says nothing", err, "did not say what it found", "fake logs")
	}
	policies, err := client.NetworkingV1().NetworkPolicies("vault").List(t.Context(), metav1.ListOptions{})
	if err != nil || len(policies.Items) != 1 {
		t.Fatalf("%d policies (%v), want one", len(policies.Items), err)
	}
	for _, policy := range policies.Items {
		if policy.Spec.PodSelector.MatchLabels[guestLabel] != "iso-05-neighbour" || len(policy.OwnerReferences) != 1 || policy.Spec.Ingress != nil {
			t.Errorf("policy %+v, want one that lets this guest out, and goes with it", policy)
		}
	}
	refused, client := visited(t, func(*corev1.Pod) {})
	client.PrependReactor("create", "pods", func(kubetesting.Action) (bool, runtime.Object, error) {
		return true, nil, errors.New("exceeded quota")
	})
	_, err = refused.visit(t.Context(), guests[:1])
	says(t, "a refused guest", err, "creating the guest pod default/vaultproof-iso-05-stranger-r1", "exceeded quota")
}

// The prober's words and ours are the same.
func TestReportsReadWhatTheProberPrints(t *testing.T) {
	line := `{"doors":[{"address":"a:1","want":"open","open":true,"attempts":1,"ms":3}]}`
	decoder := json.NewDecoder(strings.NewReader(line))
	decoder.DisallowUnknownFields()
	var said struct {
		Doors []report `json:"doors"`
	}
	if err := decoder.Decode(&said); err != nil || !said.Doors[0].Open || said.Doors[0].Want != open {
		t.Errorf("read %+v (%v)", said, err)
	}
}

package probe

import (
	"context"
	"strings"
	"sync"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/client-go/kubernetes/fake"
	clienttesting "k8s.io/client-go/testing"

	"github.com/vaultproof/vaultproof/pkg/kube"
	"github.com/vaultproof/vaultproof/pkg/timeline"
)

func vaultPod(name, ip, active string) *corev1.Pod {
	pod := &corev1.Pod{ObjectMeta: metav1.ObjectMeta{Name: name, Namespace: "vault", Labels: map[string]string{"app": "vault"}}}
	pod.Status.PodIP = ip
	if active != "" {
		pod.Labels[labelActive] = active
	}
	return pod
}

func slice(name string, endpoints ...discoveryv1.Endpoint) *discoveryv1.EndpointSlice {
	return &discoveryv1.EndpointSlice{
		ObjectMeta: metav1.ObjectMeta{Name: name, Namespace: "vault", Labels: map[string]string{discoveryv1.LabelServiceName: "vault-active"}},
		Endpoints:  endpoints,
	}
}

func endpoint(pod string, ready *bool) discoveryv1.Endpoint {
	return discoveryv1.Endpoint{
		Addresses: []string{"10.0.0.9"}, Conditions: discoveryv1.EndpointConditions{Ready: ready},
		TargetRef: &corev1.ObjectReference{Kind: "Pod", Name: pod},
	}
}

func TestWatch(t *testing.T) {
	yes, no := true, false
	client := fake.NewClientset(vaultPod("vault-0", "10.0.0.1", "true"), vaultPod("vault-1", "", ""),
		slice("a", endpoint("vault-1", nil), endpoint("vault-0", &yes), endpoint("vault-2", &no)))
	log := timeline.New(nil)
	var mu sync.Mutex
	var ips map[string]string
	w, err := Watch(t.Context(), client, WatchOptions{
		Namespace: "vault", Selector: "app=vault", Services: []string{"vault-active", "vault-ui"}, Log: log,
		OnPods: func(pods map[string]string) { mu.Lock(); defer mu.Unlock(); ips = pods },
	})
	if err != nil {
		t.Fatal(err)
	}
	defer w.Stop()
	last := func(kind timeline.Kind, subject string) string {
		value := "nothing"
		for _, e := range log.Events() {
			if e.Kind == kind && e.Subject == subject {
				value = e.Value
			}
		}
		return value
	}
	for _, want := range []struct {
		kind           timeline.Kind
		subject, value string
	}{
		{timeline.Label, "vault-0", "true"}, {timeline.Label, "vault-1", "absent"},
		{timeline.Endpoints, "vault-active", "vault-0,vault-1"}, {timeline.Endpoints, "vault-ui", ""},
	} {
		if got := last(want.kind, want.subject); got != want.value {
			t.Errorf("%s of %s is %q at first, want %q", want.kind, want.subject, got, want.value)
		}
	}
	if got := w.IPs(); len(got) != 1 || got["vault-0"] != "10.0.0.1" {
		t.Errorf("the IPs are %v", got)
	}

	ctx := t.Context()
	must := func(_ any, err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	before := len(log.Events())
	same := vaultPod("vault-0", "10.0.0.1", "true")
	same.Annotations = map[string]string{"changed": "yes"}
	must(client.CoreV1().Pods("vault").Update(ctx, same, metav1.UpdateOptions{}))
	must(client.CoreV1().Pods("vault").Update(ctx, vaultPod("vault-1", "10.0.0.2", "true"), metav1.UpdateOptions{}))
	eventually(t, "a new label", func() bool { return last(timeline.Label, "vault-1") == "true" })
	if n := len(log.Events()) - before; n != 1 {
		t.Errorf("%d events for one change of a label and one that does not matter", n)
	}
	eventually(t, "a new IP", func() bool { mu.Lock(); defer mu.Unlock(); return ips["vault-1"] == "10.0.0.2" })

	must(nil, client.CoreV1().Pods("vault").Delete(ctx, "vault-0", metav1.DeleteOptions{}))
	eventually(t, "a pod gone", func() bool { return last(timeline.Label, "vault-0") == "gone" })
	eventually(t, "its IP gone", func() bool { mu.Lock(); defer mu.Unlock(); return len(ips) == 1 })
	must(client.DiscoveryV1().EndpointSlices("vault").Create(ctx, slice("b", endpoint("vault-3", nil)), metav1.CreateOptions{}))
	eventually(t, "a second slice", func() bool { return last(timeline.Endpoints, "vault-active") == "vault-0,vault-1,vault-3" })
	must(nil, client.DiscoveryV1().EndpointSlices("vault").Delete(ctx, "a", metav1.DeleteOptions{}))
	eventually(t, "a slice gone", func() bool { return last(timeline.Endpoints, "vault-active") == "vault-3" })
}

func TestWatchWithoutAPIServer(t *testing.T) {
	client := fake.NewClientset()
	client.PrependReactor("list", "pods", func(clienttesting.Action) (bool, runtime.Object, error) {
		return true, nil, context.DeadlineExceeded
	})
	ctx, cancel := context.WithTimeout(t.Context(), 200*time.Millisecond)
	defer cancel()
	if _, err := Watch(ctx, client, WatchOptions{Namespace: "vault", Selector: "app=vault", Log: timeline.New(nil)}); err == nil {
		t.Error("a watch that never listed anything is said to work")
	}
	if _, err := Watch(t.Context(), client, WatchOptions{Namespace: "vault"}); err == nil {
		t.Error("a watch without selector and timeline was started")
	}
}

// onCreate gives a pod its name and state when it is created, as the API
// server and the kubelet would.
func onCreate(client *fake.Clientset, status corev1.PodStatus) {
	client.PrependReactor("create", "pods", func(action clienttesting.Action) (bool, runtime.Object, error) {
		pod := action.(clienttesting.CreateAction).GetObject().(*corev1.Pod)
		pod.Name = pod.GenerateName + "abcde"
		pod.Status = status
		return false, nil, nil
	})
}

func TestPodRuns(t *testing.T) {
	node := &corev1.Node{ObjectMeta: metav1.ObjectMeta{Name: "n", Labels: map[string]string{kube.RoleLabel: kube.RoleServices}}}
	client := fake.NewClientset(node)
	onCreate(client, corev1.PodStatus{ContainerStatuses: []corev1.ContainerStatus{
		{State: corev1.ContainerState{Running: &corev1.ContainerStateRunning{}}},
	}})
	opts := Options{RunID: "run-1"}.withDefaults()
	name, err := runPod(t.Context(), client, opts)
	if err != nil {
		t.Fatal(err)
	}
	pod, err := client.CoreV1().Pods(opts.Namespace).Get(t.Context(), name, metav1.GetOptions{})
	if err != nil {
		t.Fatal(err)
	}
	if pod.Spec.NodeSelector[kube.RoleLabel] != kube.RoleServices || pod.Labels[labelRun] != "run-1" ||
		pod.Labels[kube.ManagedByLabel] != kube.ManagedBy || pod.Labels[labelClient] != "vault" {
		t.Errorf("the pod has labels %v and node selector %v", pod.Labels, pod.Spec.NodeSelector)
	}
	if *pod.Spec.AutomountServiceAccountToken || !*pod.Spec.SecurityContext.RunAsNonRoot {
		t.Error("the pod gets a token, or may run as root")
	}
	ns, err := client.CoreV1().Namespaces().Get(t.Context(), opts.Namespace, metav1.GetOptions{})
	if err != nil || ns.Labels[kube.ManagedByLabel] != kube.ManagedBy {
		t.Errorf("the namespace is %v (%v)", ns, err)
	}
	if err := deletePod(t.Context(), client, opts.Namespace, name); err != nil {
		t.Error(err)
	}
	if err := deletePod(t.Context(), client, opts.Namespace, name); err != nil {
		t.Errorf("deleting a pod that is gone: %v", err)
	}
}

func TestPodsThatNeverRun(t *testing.T) {
	waiting := func(reason string) corev1.PodStatus {
		return corev1.PodStatus{ContainerStatuses: []corev1.ContainerStatus{
			{Image: DefaultImage, State: corev1.ContainerState{Waiting: &corev1.ContainerStateWaiting{Reason: reason}}},
		}}
	}
	for want, status := range map[string]corev1.PodStatus{
		"load the image":  waiting("ImagePullBackOff"),
		"exit code 3":     {ContainerStatuses: []corev1.ContainerStatus{{State: corev1.ContainerState{Terminated: &corev1.ContainerStateTerminated{ExitCode: 3}}}}},
		"Evicted":         {Phase: corev1.PodFailed, Reason: "Evicted"},
		"no node takes":   {Conditions: []corev1.PodCondition{{Type: corev1.PodScheduled, Status: corev1.ConditionFalse, Message: "0/1 nodes"}}},
		"ContainerCreati": waiting("ContainerCreating"),
	} {
		client := fake.NewClientset()
		onCreate(client, status)
		ctx, cancel := context.WithTimeout(t.Context(), 700*time.Millisecond)
		_, err := runPod(ctx, client, Options{RunID: "r"}.withDefaults())
		cancel()
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("the error is %v, want %q in it", err, want)
		}
		pods, err := client.CoreV1().Pods(DefaultNamespace).List(t.Context(), metav1.ListOptions{})
		if err != nil || len(pods.Items) != 0 {
			t.Errorf("%s: the pod is left behind (%v)", want, err)
		}
	}
}

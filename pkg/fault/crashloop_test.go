package fault

import (
	"strings"
	"testing"
	"time"

	"github.com/chaos-mesh/chaos-mesh/api/v1alpha1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes/fake"
	ctrlfake "sigs.k8s.io/controller-runtime/pkg/client/fake"
)

func TestCrashLooped(t *testing.T) {
	before := corev1.ContainerStatus{ContainerID: "containerd://first", RestartCount: 3}
	now := func(restarts, exit int32, waiting string) corev1.ContainerStatus {
		s := corev1.ContainerStatus{RestartCount: restarts}
		s.LastTerminationState.Terminated = &corev1.ContainerStateTerminated{ContainerID: "containerd://x", ExitCode: exit}
		if waiting != "" {
			s.State.Waiting = &corev1.ContainerStateWaiting{Reason: waiting}
		}
		return s
	}
	for name, c := range map[string]struct {
		now  corev1.ContainerStatus
		want bool
		says string
	}{
		"two restarts":         {now(5, 137, ""), true, "counts 2 restarts"},
		"held back":            {now(4, 137, backOff), true, backOff},
		"one restart":          {now(4, 137, ""), false, "counts 1 restarts"},
		"an old death":         {now(3, 137, ""), false, "counts 0 restarts"},
		"ended by itself":      {now(5, 1, ""), false, "exit code 1, not 137"},
		"never ended":          {corev1.ContainerStatus{RestartCount: 3}, false, "has not ended"},
		"waiting for an image": {now(3, 137, "ImagePullBackOff"), false, "counts 0 restarts"},
	} {
		evidence, got := crashLooped(before, c.now)
		if got != c.want || !strings.Contains(evidence, c.says) {
			t.Errorf("%s: witness %v (%s), want %v with %q", name, got, evidence, c.want, c.says)
		}
	}
}

// daemonAt is a ready pod of Chaos Mesh's daemon.
func daemonAt(node string) *corev1.Pod {
	return &corev1.Pod{
		ObjectMeta: metav1.ObjectMeta{Namespace: "chaos-mesh", Name: "daemon-" + node, Labels: map[string]string{"app.kubernetes.io/component": "chaos-daemon"}},
		Spec:       corev1.PodSpec{NodeName: node},
		Status:     corev1.PodStatus{Conditions: []corev1.PodCondition{{Type: corev1.PodReady, Status: corev1.ConditionTrue}}},
	}
}

func TestEachSuccessorIsKilledOnceAndAllIsRemoved(t *testing.T) {
	running := func(id string) []corev1.ContainerStatus {
		return []corev1.ContainerStatus{{Name: "vault", ContainerID: id, State: corev1.ContainerState{Running: &corev1.ContainerStateRunning{}}}}
	}
	pod := &corev1.Pod{ObjectMeta: labelled("vault-0", nil), Spec: corev1.PodSpec{NodeName: "n"}, Status: corev1.PodStatus{ContainerStatuses: running("containerd://1")}}
	client := fake.NewClientset(pod, daemonAt("n"))
	chaos := ctrlfake.NewClientBuilder().WithScheme(chaosScheme(t)).Build()
	env := &Env{Client: client, Chaos: chaos, Namespace: "vault", Container: "vault", RunID: "r"}
	injected, err := (&CrashLoop{Env: env, Pod: "vault-0", Duration: time.Minute}).Inject(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	kills := func() int {
		var list v1alpha1.PodChaosList
		if err := chaos.List(t.Context(), &list); err != nil {
			t.Fatal(err)
		}
		return len(list.Items)
	}
	if n := kills(); n != 1 {
		t.Fatalf("%d kills at first, want 1", n)
	}
	pod.Status.ContainerStatuses = running("containerd://2")
	if _, err := client.CoreV1().Pods("vault").UpdateStatus(t.Context(), pod, metav1.UpdateOptions{}); err != nil {
		t.Fatal(err)
	}
	for end := time.Now().Add(10 * time.Second); kills() < 2 && time.Now().Before(end); {
		time.Sleep(pollEvery)
	}
	time.Sleep(3 * pollEvery) // the same container is not killed again
	if n := kills(); n != 2 {
		t.Errorf("%d kills after one restart, want 2", n)
	}
	if err := injected.Recover(t.Context()); err != nil {
		t.Fatal(err)
	}
	if n := kills(); n != 0 {
		t.Errorf("%d kills are left behind", n)
	}
}

package fault

import (
	"context"
	"errors"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes/fake"
)

func TestSucceeded(t *testing.T) {
	at := time.Date(2026, 5, 1, 12, 0, 0, 5e8, time.UTC)
	running := func(since time.Time) corev1.ContainerState {
		return corev1.ContainerState{Running: &corev1.ContainerStateRunning{StartedAt: metav1.NewTime(since)}}
	}
	for name, c := range map[string]struct {
		uid   string
		state corev1.ContainerState
		want  bool
	}{
		"started anew":         {"new", running(at.Add(3 * time.Second)), true},
		"in the same second":   {"new", running(at.Truncate(time.Second)), true},
		"the same pod":         {"old", running(at.Add(3 * time.Second)), false},
		"not started":          {"new", corev1.ContainerState{Waiting: &corev1.ContainerStateWaiting{}}, false},
		"running from before":  {"new", running(at.Add(-3 * time.Second)), false},
		"ended before it runs": {"new", corev1.ContainerState{Terminated: &corev1.ContainerStateTerminated{}}, false},
	} {
		pod := &corev1.Pod{ObjectMeta: metav1.ObjectMeta{Name: "vault-0"}}
		pod.UID = "new"
		if c.uid == "old" {
			pod.UID = "old"
		}
		pod.Status.ContainerStatuses = []corev1.ContainerStatus{{Name: "vault", State: c.state}}
		if evidence, got := succeeded(pod, "old", "vault", at); got != c.want {
			t.Errorf("%s: %t (%s), want %t", name, got, evidence, c.want)
		}
	}
	if _, ok := succeeded(&corev1.Pod{}, "old", "vault", at); ok {
		t.Error("a pod without containers counts as started")
	}
}

func TestAllPodsDelete(t *testing.T) {
	client := fake.NewClientset(
		&corev1.Pod{ObjectMeta: metav1.ObjectMeta{Name: "vault-0", Namespace: "vault", UID: "a"}},
		&corev1.Pod{ObjectMeta: metav1.ObjectMeta{Name: "vault-1", Namespace: "vault", UID: "b"}},
		&corev1.Pod{ObjectMeta: metav1.ObjectMeta{Name: "other", Namespace: "vault"}},
	)
	env := &Env{Client: client, Namespace: "vault", Container: "vault"}
	injected, err := (&AllPodsDelete{Env: env, Pods: []string{"vault-0", "vault-1"}}).Inject(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	left, err := client.CoreV1().Pods("vault").List(t.Context(), metav1.ListOptions{})
	if err != nil || len(left.Items) != 1 || left.Items[0].Name != "other" {
		t.Errorf("left are %d pods (%v), want the one that was not named", len(left.Items), err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 2*pollEvery)
	defer cancel()
	if _, err := injected.Witness(ctx); !errors.Is(err, ErrNoWitness) {
		t.Errorf("without successors: %v, want ErrNoWitness", err)
	}
	if _, err := (&AllPodsDelete{Env: env}).Inject(t.Context()); !errors.Is(err, ErrUnavailable) {
		t.Errorf("no pod at all: %v, want ErrUnavailable", err)
	}
}

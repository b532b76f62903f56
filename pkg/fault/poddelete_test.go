package fault

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes/fake"
	k8stesting "k8s.io/client-go/testing"
)

// A forced pod is off the list at once, whether its processes are dead or not: only its
// successor's container proves it.
func TestAForcedDeletionIsProvedByTheSuccessor(t *testing.T) {
	pod := &corev1.Pod{ObjectMeta: labelled("vault-0", nil)}
	pod.UID = "old"
	client := fake.NewClientset(pod)
	f := &PodDelete{Env: &Env{Client: client, Namespace: "vault", Container: "vault"}, Pod: "vault-0", Force: true}
	if f.Kind() == (&PodDelete{}).Kind() {
		t.Error("a forced deletion bears the name of a graceful one")
	}
	injected, err := f.Inject(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	for _, a := range client.Actions() {
		if d, ok := a.(k8stesting.DeleteActionImpl); ok && (d.DeleteOptions.GracePeriodSeconds == nil || *d.DeleteOptions.GracePeriodSeconds != 0) {
			t.Errorf("deleted with grace period %v, want 0", d.DeleteOptions.GracePeriodSeconds)
		}
	}
	witness := func() error {
		ctx, cancel := context.WithTimeout(t.Context(), 2*pollEvery)
		defer cancel()
		_, err := injected.Witness(ctx)
		return err
	}
	if err := witness(); !errors.Is(err, ErrNoWitness) || !strings.Contains(err.Error(), "does not run yet") {
		t.Errorf("without a successor: %v, want ErrNoWitness", err)
	}
	successor := &corev1.Pod{ObjectMeta: labelled("vault-0", nil)}
	successor.UID = "new"
	successor.Status.ContainerStatuses = []corev1.ContainerStatus{runningSince("vault", "containerd://n", time.Now())}
	if _, err := client.CoreV1().Pods("vault").Create(t.Context(), successor, metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
	if err := witness(); err != nil {
		t.Error(err)
	}
}

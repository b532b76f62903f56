package trial

import (
	"context"
	"fmt"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/vaultproof/vaultproof/pkg/conformance"
	"github.com/vaultproof/vaultproof/pkg/fault"
)

// Freshen replaces a pod whose container was restarted. The kubelet holds such a
// container back, twice as long each time and up to five minutes, and forgets only after
// ten minutes without a restart: the next trial on that pod would show the kubelet's
// patience, not Vault.
func Freshen(ctx context.Context, r *conformance.Case, name string) error {
	pod, err := r.Target.Client.CoreV1().Pods(r.Target.Namespace).Get(ctx, name, metav1.GetOptions{})
	if err != nil {
		return fmt.Errorf("reading pod %s/%s between two trials: %w", r.Target.Namespace, name, err)
	}
	if !heldBack(*pod, r.Target.Container) {
		return nil
	}
	deleted, err := (&fault.PodDelete{Env: r.Faults, Pod: name}).Inject(ctx)
	if err != nil {
		return err
	}
	if _, err := Witness(ctx, deleted); err != nil {
		return fmt.Errorf("replacing pod %s between two trials: %w", name, err)
	}
	return nil
}

// heldBack tells whether the kubelet has restarted the container of this pod.
func heldBack(pod corev1.Pod, container string) bool {
	for _, c := range pod.Status.ContainerStatuses {
		if c.Name == container {
			return c.RestartCount > 0
		}
	}
	return false
}

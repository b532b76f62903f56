package kube

import (
	"context"
	"fmt"

	corev1 "k8s.io/api/core/v1"
	policyv1 "k8s.io/api/policy/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"
)

// TryEviction asks for the eviction of this very pod without evicting it. The refusal is
// what the API server said for the sake of a PodDisruptionBudget, empty if it would evict.
func TryEviction(ctx context.Context, client kubernetes.Interface, pod *corev1.Pod) (refusal string, err error) {
	err = client.PolicyV1().Evictions(pod.Namespace).Evict(ctx, &policyv1.Eviction{
		ObjectMeta: metav1.ObjectMeta{Namespace: pod.Namespace, Name: pod.Name},
		DeleteOptions: &metav1.DeleteOptions{
			DryRun: []string{metav1.DryRunAll}, Preconditions: &metav1.Preconditions{UID: &pod.UID},
		},
	})
	switch {
	case err == nil:
		return "", nil
	case apierrors.IsTooManyRequests(err):
		return err.Error(), nil
	default:
		return "", fmt.Errorf("asking for the eviction of pod %s: %w", pod.Name, err)
	}
}

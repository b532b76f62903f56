package isolation

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/util/wait"

	"github.com/vaultproof/vaultproof/pkg/fault"
	"github.com/vaultproof/vaultproof/pkg/target"
)

// restartSealed deletes a pod and holds the one that takes its place, so that it is not
// unsealed. It returns that one once its containers run.
func (e evictor) restartSealed(ctx context.Context, old *corev1.Pod) (*corev1.Pod, error) {
	if e.journal != nil {
		if err := e.journal.Begin(e.hold(old.Name)); err != nil {
			return nil, err
		}
	}
	pods := e.client.CoreV1().Pods(e.namespace)
	err := pods.Delete(ctx, old.Name, metav1.DeleteOptions{Preconditions: &metav1.Preconditions{UID: &old.UID}})
	if err != nil {
		return nil, fmt.Errorf("deleting pod %s/%s: %w", e.namespace, old.Name, err)
	}
	ctx, cancel := context.WithTimeout(ctx, sealedWithin)
	defer cancel()
	var now *corev1.Pod
	state := "it was not looked at"
	err = wait.PollUntilContextCancel(ctx, lookEvery, true, func(ctx context.Context) (bool, error) {
		seen, err := pods.Get(ctx, old.Name, metav1.GetOptions{})
		switch {
		case err != nil:
			if ctx.Err() == nil {
				state = err.Error()
			}
			return false, nil // gone for a moment; the deadline decides
		case seen.UID == old.UID:
			state = "it is still terminating"
			return false, nil
		case seen.Annotations[fault.HoldAnnotation] == "":
			state = "its successor could not be held"
			return false, e.annotate(ctx, seen)
		case target.PodReady(seen):
			return false, errors.New("it was unsealed in spite of the hold, or before it")
		}
		now, state = seen, progress(seen)
		return allStarted(seen), nil
	})
	if err != nil {
		return nil, fmt.Errorf("restarting pod %s so that it stays sealed: %w; %s", old.Name, err, state)
	}
	return now, nil
}

// allStarted tells whether all containers run: a pod that is pending may be evicted
// whatever the budget says.
func allStarted(pod *corev1.Pod) bool {
	started := 0
	for _, c := range pod.Status.ContainerStatuses {
		if c.State.Running != nil {
			started++
		}
	}
	return pod.Status.Phase == corev1.PodRunning && started == len(pod.Spec.Containers)
}

// annotate sets the hold on this very pod.
func (e evictor) annotate(ctx context.Context, pod *corev1.Pod) error {
	patch, err := json.Marshal(map[string]any{"metadata": map[string]any{
		"uid":         pod.UID,
		"annotations": map[string]any{fault.HoldAnnotation: target.ManagedByValue + " run " + e.run},
	}})
	if err != nil {
		return fmt.Errorf("encoding the hold of pod %s: %w", pod.Name, err)
	}
	_, err = e.client.CoreV1().Pods(e.namespace).Patch(ctx, pod.Name, types.MergePatchType, patch, metav1.PatchOptions{})
	if err != nil && !apierrors.IsNotFound(err) && !apierrors.IsConflict(err) {
		return fmt.Errorf("holding pod %s/%s: %w", e.namespace, pod.Name, err)
	}
	return nil
}

// awaitSpent waits until Kubernetes has counted the sealed pod against the budget.
func (e evictor) awaitSpent(ctx context.Context, budget string) error {
	ctx, cancel := context.WithTimeout(ctx, budgetWithin)
	defer cancel()
	seen := "it was not looked at"
	err := wait.PollUntilContextCancel(ctx, 250*time.Millisecond, true, func(ctx context.Context) (bool, error) {
		b, err := e.client.PolicyV1().PodDisruptionBudgets(e.namespace).Get(ctx, budget, metav1.GetOptions{})
		if err != nil {
			if ctx.Err() == nil {
				seen = err.Error()
			}
			return false, nil // the deadline decides
		}
		seen = fmt.Sprintf("its status says %d healthy of %d and %d disruptions allowed", b.Status.CurrentHealthy, b.Status.ExpectedPods, b.Status.DisruptionsAllowed)
		return b.Status.DisruptionsAllowed == 0, nil
	})
	if err != nil {
		return fmt.Errorf("PodDisruptionBudget %s is not spent %s after a pod was sealed: %s", budget, budgetWithin, seen)
	}
	return nil
}

func (e evictor) stillClosed(ctx context.Context, pod *corev1.Pod) error {
	now, err := e.client.CoreV1().Pods(e.namespace).Get(ctx, pod.Name, metav1.GetOptions{})
	switch {
	case err != nil:
		return fmt.Errorf("reading pod %s/%s: %w", e.namespace, pod.Name, err)
	case now.UID != pod.UID || target.PodReady(now):
		return fmt.Errorf("pod %s did not stay sealed while its eviction was tried", pod.Name)
	}
	return nil
}

// release lets a pod be unsealed again. It may be called again.
func (e evictor) release(ctx context.Context, pod string) error {
	if err := fault.ReleaseHold(ctx, e.client, e.hold(pod)); err != nil {
		return err
	}
	if e.journal != nil {
		return e.journal.Done(e.hold(pod))
	}
	return nil
}

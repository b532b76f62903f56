package fault

import (
	"context"
	"fmt"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/util/wait"
)

// PodDelete deletes a pod with its own grace period, as an eviction or a
// rolling update does.
type PodDelete struct {
	Env *Env
	Pod string
	// Force leaves it no grace: its processes are killed, and nothing is handed
	// over.
	Force bool
}

// Kind is pod-delete, or pod-delete-forced.
func (f *PodDelete) Kind() string {
	if f.Force {
		return "pod-delete-forced"
	}
	return "pod-delete"
}

// Target is the pod's name.
func (f *PodDelete) Target() string { return f.Pod }

// Inject deletes the pod that bears the name now, and no successor of it.
func (f *PodDelete) Inject(ctx context.Context) (Injected, error) {
	pods := f.Env.Client.CoreV1().Pods(f.Env.Namespace)
	pod, err := pods.Get(ctx, f.Pod, metav1.GetOptions{})
	if err != nil {
		return nil, fmt.Errorf("reading pod %s/%s before deleting it: %w", f.Env.Namespace, f.Pod, err)
	}
	options := metav1.DeleteOptions{Preconditions: &metav1.Preconditions{UID: &pod.UID}}
	if f.Force {
		options.GracePeriodSeconds = new(int64)
	}
	d := &podDeleted{fault: f, uid: pod.UID, at: time.Now(), grace: corev1.DefaultTerminationGracePeriodSeconds * time.Second}
	if err := pods.Delete(ctx, f.Pod, options); err != nil {
		return nil, fmt.Errorf("deleting pod %s/%s: %w", f.Env.Namespace, f.Pod, err)
	}
	if s := pod.Spec.TerminationGracePeriodSeconds; s != nil {
		d.grace = time.Duration(*s) * time.Second
	}
	return d, nil
}

type podDeleted struct {
	fault *PodDelete
	uid   types.UID
	at    time.Time
	grace time.Duration
}

// Patience is the pod's grace period, all of which a hanging process takes,
// and what the kubelet needs to clean up after it. The successor of a forced pod
// has to be placed and started within that.
func (d *podDeleted) Patience() time.Duration { return d.grace + 30*time.Second }

// Witness waits until the pod's UID is gone from the API server, replaced by
// another or by nothing yet. That would prove nothing of a forced one, which is
// taken off the list before it is stopped: there the container of its successor
// must have been started.
func (d *podDeleted) Witness(ctx context.Context) (Witness, error) {
	seen := "the API server was not asked in time"
	var witness Witness
	err := wait.PollUntilContextCancel(ctx, pollEvery, true, func(ctx context.Context) (bool, error) {
		pod, err := d.fault.Env.Client.CoreV1().Pods(d.fault.Env.Namespace).Get(ctx, d.fault.Pod, metav1.GetOptions{})
		if err != nil && !apierrors.IsNotFound(err) {
			if ctx.Err() == nil {
				seen = err.Error()
			}
			return false, nil // the API server may stumble in a fault; the deadline decides
		}
		if err != nil {
			pod = &corev1.Pod{ObjectMeta: metav1.ObjectMeta{Name: d.fault.Pod}} // there is none
		}
		evidence, gone := replaced(d.fault.Pod, d.uid, pod.UID)
		if d.fault.Force {
			evidence, gone = succeeded(pod, d.uid, d.fault.Env.Container, d.at)
		}
		seen = evidence
		witness = Witness{Evidence: evidence, At: time.Now()}
		return gone, nil
	})
	if err != nil {
		return Witness{}, fmt.Errorf("%w: %s", ErrNoWitness, seen)
	}
	return witness, nil
}

// replaced judges the pod's UID now, empty if there is no pod, against that of
// the deleted one.
func replaced(pod string, deleted, current types.UID) (evidence string, gone bool) {
	switch current {
	case deleted:
		return fmt.Sprintf("pod %s still has UID %s", pod, deleted), false
	case "":
		return fmt.Sprintf("pod %s with UID %s is gone from the API server", pod, deleted), true
	default:
		return fmt.Sprintf("pod %s with UID %s is gone, its successor has UID %s", pod, deleted, current), true
	}
}

// Recover has nothing to undo: the StatefulSet replaces the pod.
func (d *podDeleted) Recover(context.Context) error { return nil }

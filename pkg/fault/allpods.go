package fault

import (
	"context"
	"fmt"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/util/wait"
)

// AllPodsDelete deletes several pods at once and by force, so that none of them
// can hand anything over to another.
type AllPodsDelete struct {
	Env  *Env
	Pods []string
}

// Kind is all-pods-delete.
func (f *AllPodsDelete) Kind() string { return "all-pods-delete" }

// Target is the pods' names.
func (f *AllPodsDelete) Target() string { return strings.Join(f.Pods, ", ") }

// Inject deletes the pods that bear the names now.
func (f *AllPodsDelete) Inject(ctx context.Context) (Injected, error) {
	pods := f.Env.Client.CoreV1().Pods(f.Env.Namespace)
	d := &allDeleted{fault: f, uids: map[string]types.UID{}}
	for _, name := range f.Pods {
		pod, err := pods.Get(ctx, name, metav1.GetOptions{})
		if err != nil {
			return nil, fmt.Errorf("reading pod %s/%s before deleting it: %w", f.Env.Namespace, name, err)
		}
		d.uids[name] = pod.UID
	}
	if len(d.uids) == 0 {
		return nil, fmt.Errorf("%w: there is no pod to delete", ErrUnavailable)
	}
	d.at = time.Now()
	for name, uid := range d.uids {
		err := pods.Delete(ctx, name, metav1.DeleteOptions{GracePeriodSeconds: new(int64), Preconditions: &metav1.Preconditions{UID: &uid}})
		if err != nil && !apierrors.IsNotFound(err) {
			return nil, fmt.Errorf("deleting pod %s/%s: %w", f.Env.Namespace, name, err)
		}
	}
	return d, nil
}

type allDeleted struct {
	fault *AllPodsDelete
	uids  map[string]types.UID
	at    time.Time
}

// Patience is what the successors may take to be placed and started.
func (d *allDeleted) Patience() time.Duration { return time.Minute }

// Witness waits until every pod has a successor whose container the kubelet
// started after the deletion. That a forced pod is gone from the API server
// would prove nothing: it is taken off the list before it is stopped.
func (d *allDeleted) Witness(ctx context.Context) (Witness, error) {
	seen := "the API server was not asked in time"
	var started []string
	err := wait.PollUntilContextCancel(ctx, pollEvery, true, func(ctx context.Context) (bool, error) {
		started = started[:0]
		for _, name := range d.fault.Pods {
			pod, err := d.fault.Env.Client.CoreV1().Pods(d.fault.Env.Namespace).Get(ctx, name, metav1.GetOptions{})
			if err != nil {
				if ctx.Err() == nil {
					seen = err.Error()
				}
				return false, nil // the deadline decides
			}
			evidence, ok := succeeded(pod, d.uids[name], d.fault.Env.Container, d.at)
			if !ok {
				seen = evidence
				return false, nil
			}
			started = append(started, evidence)
		}
		return true, nil
	})
	if err != nil {
		return Witness{}, fmt.Errorf("%w: %s", ErrNoWitness, seen)
	}
	return Witness{Evidence: strings.Join(started, "; "), At: time.Now()}, nil
}

// succeeded judges whether pod is another one than that with the UID, with a
// container that was started since. The kubelet keeps whole seconds.
func succeeded(pod *corev1.Pod, old types.UID, container string, since time.Time) (evidence string, ok bool) {
	if evidence, gone := replaced(pod.Name, old, pod.UID); !gone {
		return evidence, false
	}
	status, ok := containerStatus(pod, container)
	switch {
	case !ok || status.State.Running == nil:
		return fmt.Sprintf("container %s of the new pod %s does not run yet", container, pod.Name), false
	case status.State.Running.StartedAt.Time.Before(since.Truncate(time.Second)):
		return fmt.Sprintf("container %s of pod %s runs since %s, before the deletion", container, pod.Name,
			status.State.Running.StartedAt.UTC().Format(time.RFC3339)), false
	}
	return fmt.Sprintf("pod %s with UID %s is replaced, its container %s runs since %s", pod.Name, old, container,
		status.State.Running.StartedAt.UTC().Format(time.RFC3339)), true
}

// Recover has nothing to undo: the StatefulSet replaces the pods.
func (d *allDeleted) Recover(context.Context) error { return nil }

package fault

import (
	"context"
	"fmt"
	"time"

	"github.com/chaos-mesh/chaos-mesh/api/v1alpha1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/wait"
)

// sigkillExit is the exit code of a container whose process got SIGKILL: 128+9.
const sigkillExit = 137

// ProcessKill sends SIGKILL to the Vault process of a pod: no step-down, no
// release of the lock, and the pod object stays.
type ProcessKill struct {
	Env *Env
	Pod string
}

// Kind is process-kill.
func (f *ProcessKill) Kind() string { return "process-kill" }

// Target is the pod's name.
func (f *ProcessKill) Target() string { return f.Pod }

// Inject creates a PodChaos that kills the container once.
func (f *ProcessKill) Inject(ctx context.Context) (Injected, error) {
	before, err := f.Env.killable(ctx, f.Pod, f.Env.Container)
	if err != nil {
		return nil, err
	}
	at := time.Now()
	created, err := f.Env.create(ctx, f.Env.sigkill("kill", f.Pod, f.Env.Container))
	if err != nil {
		return nil, err
	}
	return &processKilled{chaosObject: created, fault: f, at: at, before: before}, nil
}

type processKilled struct {
	*chaosObject
	fault  *ProcessKill
	at     time.Time
	before corev1.ContainerStatus
}

// Witness waits until the kubelet has recorded that the container which ran
// before ended by SIGKILL after the injection, and that another one is there.
func (k *processKilled) Witness(ctx context.Context) (Witness, error) {
	var seen string
	var witness Witness
	err := wait.PollUntilContextCancel(ctx, pollEvery, true, func(ctx context.Context) (bool, error) {
		pod, err := k.env.Client.CoreV1().Pods(k.env.Namespace).Get(ctx, k.fault.Pod, metav1.GetOptions{})
		if err != nil {
			seen = err.Error()
			return false, nil // the deadline decides
		}
		status, ok := containerStatus(pod, k.env.Container)
		if !ok {
			seen = fmt.Sprintf("pod %s has no container %s", k.fault.Pod, k.env.Container)
			return false, nil
		}
		evidence, killed := killedBySignal(k.before.ContainerID, status, k.at)
		seen = evidence
		witness = Witness{Evidence: evidence, At: time.Now()}
		return killed, nil
	})
	if err != nil {
		return Witness{}, fmt.Errorf("%w: %s%s", ErrNoWitness, seen, k.complaint(ctx))
	}
	return witness, nil
}

// killedBySignal judges a container status against the container that ran
// before: its record must say exit 137, at or after the injection. The kubelet
// keeps whole seconds, hence the truncation.
func killedBySignal(before string, now corev1.ContainerStatus, injected time.Time) (evidence string, ok bool) {
	ended := now.LastTerminationState.Terminated
	if now.State.Terminated != nil { // ended, and not yet restarted
		ended = now.State.Terminated
	}
	switch {
	case ended == nil:
		return fmt.Sprintf("container %s has not ended since %s", short(before), injected.UTC().Format(time.RFC3339)), false
	case ended.ContainerID != before:
		return fmt.Sprintf("the last container to end was %s, not %s", short(ended.ContainerID), short(before)), false
	case ended.ExitCode != sigkillExit:
		return fmt.Sprintf("container %s ended with exit code %d, not %d", short(before), ended.ExitCode, sigkillExit), false
	case ended.FinishedAt.Time.Before(injected.Truncate(time.Second)):
		return fmt.Sprintf("container %s ended at %s, before the injection at %s", short(before),
			ended.FinishedAt.UTC().Format(time.RFC3339), injected.UTC().Format(time.RFC3339)), false
	case now.ContainerID == before && now.State.Running != nil:
		return fmt.Sprintf("container %s is running still", short(before)), false
	}
	return fmt.Sprintf("the kubelet recorded exit code %d of container %s at %s", ended.ExitCode, short(before),
		ended.FinishedAt.UTC().Format(time.RFC3339)), true
}

// killable is the state of a container in a pod before its process is killed. It fails
// with ErrUnavailable if nothing could be killed.
func (e *Env) killable(ctx context.Context, pod, container string) (corev1.ContainerStatus, error) {
	p, err := e.Client.CoreV1().Pods(e.Namespace).Get(ctx, pod, metav1.GetOptions{})
	if err != nil {
		return corev1.ContainerStatus{}, fmt.Errorf("reading pod %s/%s before killing its process: %w", e.Namespace, pod, err)
	}
	before, ok := containerStatus(p, container)
	if !ok || before.State.Running == nil {
		return before, fmt.Errorf("%w: container %s of pod %s is not running", ErrUnavailable, container, pod)
	}
	return before, e.daemonOn(ctx, p.Spec.NodeName)
}

// sigkill asks Chaos Mesh to kill a container of a pod once. The verb is part of the
// object's name.
func (e *Env) sigkill(verb, pod, container string) *v1alpha1.PodChaos {
	return &v1alpha1.PodChaos{
		ObjectMeta: e.objectMeta(verb, pod),
		Spec: v1alpha1.PodChaosSpec{
			Action: v1alpha1.ContainerKillAction,
			ContainerSelector: v1alpha1.ContainerSelector{
				PodSelector:    podSelector(e.Namespace, []string{pod}),
				ContainerNames: []string{container},
			},
		},
	}
}

func containerStatus(pod *corev1.Pod, name string) (corev1.ContainerStatus, bool) {
	for _, c := range pod.Status.ContainerStatuses {
		if c.Name == name {
			return c, true
		}
	}
	return corev1.ContainerStatus{}, false
}

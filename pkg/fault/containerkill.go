package fault

import (
	"context"
	"fmt"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/wait"
)

// restartPatience is how long the kubelet may hold the restart of a container back
// that was killed for the third time in a row.
const restartPatience = time.Minute

// ContainerKill ends one container of a pod, whichever it is, and is done when the
// kubelet has put another one in its place. ProcessKill is the same of Vault's alone,
// and is done when that is dead.
type ContainerKill struct {
	Env *Env
	Pod string
	// Container is the name of the container in the pod.
	Container string
}

// Kind is container-kill.
func (f *ContainerKill) Kind() string { return "container-kill" }

// Target is the pod and the container.
func (f *ContainerKill) Target() string { return f.Pod + "/" + f.Container }

// Inject creates a PodChaos that kills the container once.
func (f *ContainerKill) Inject(ctx context.Context) (Injected, error) {
	before, err := f.Env.killable(ctx, f.Pod, f.Container)
	if err != nil {
		return nil, err
	}
	at := time.Now()
	created, err := f.Env.create(ctx, f.Env.sigkill("end", f.Pod, f.Container))
	if err != nil {
		return nil, err
	}
	return &containerKilled{chaosObject: created, fault: f, at: at, before: before}, nil
}

type containerKilled struct {
	*chaosObject
	fault  *ContainerKill
	at     time.Time
	before corev1.ContainerStatus
}

// Patience covers the kubelet's back-off.
func (k *containerKilled) Patience() time.Duration { return restartPatience }

// Witness waits until the kubelet runs another container in its place.
func (k *containerKilled) Witness(ctx context.Context) (Witness, error) {
	seen := "the API server was not asked in time"
	var witness Witness
	err := wait.PollUntilContextCancel(ctx, pollEvery, true, func(ctx context.Context) (bool, error) {
		pod, err := k.env.Client.CoreV1().Pods(k.env.Namespace).Get(ctx, k.fault.Pod, metav1.GetOptions{})
		if err != nil {
			if ctx.Err() == nil {
				seen = err.Error()
			}
			return false, nil // the deadline decides
		}
		now, _ := containerStatus(pod, k.fault.Container)
		evidence, renewed := renewed(k.before, now, k.at)
		seen = evidence
		witness = Witness{Evidence: evidence, At: time.Now()}
		return renewed, nil
	})
	if err != nil {
		return Witness{}, fmt.Errorf("%w: in pod %s %s%s", ErrNoWitness, k.fault.Pod, seen, k.complaint(ctx))
	}
	return witness, nil
}

// renewed judges a container's status against the one before: another container must
// have been started since. The kubelet keeps whole seconds, hence the truncation.
func renewed(before, now corev1.ContainerStatus, since time.Time) (evidence string, ok bool) {
	switch {
	case now.ContainerID == "" || now.State.Running == nil:
		return fmt.Sprintf("no container %s runs in the place of %s", before.Name, short(before.ContainerID)), false
	case now.ContainerID == before.ContainerID:
		return fmt.Sprintf("container %s is still %s", before.Name, short(before.ContainerID)), false
	case now.State.Running.StartedAt.Time.Before(since.Truncate(time.Second)):
		return fmt.Sprintf("container %s is %s since %s, before the injection", before.Name, short(now.ContainerID),
			now.State.Running.StartedAt.UTC().Format(time.RFC3339)), false
	}
	return fmt.Sprintf("the kubelet runs container %s as %s since %s, it was %s", before.Name, short(now.ContainerID),
		now.State.Running.StartedAt.UTC().Format(time.RFC3339), short(before.ContainerID)), true
}

package fault

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/wait"
)

// deaths is how often a container must have died to be in a crash loop.
const deaths = 2

// backOff is the kubelet's word for a container that it does not restart yet.
const backOff = "CrashLoopBackOff"

// CrashLoop sends SIGKILL to the Vault process of a pod, and to each successor
// as soon as it runs, until its time is over.
type CrashLoop struct {
	Env *Env
	Pod string
	// Duration is how long successors are killed.
	Duration time.Duration
}

// Kind is crash-loop.
func (f *CrashLoop) Kind() string { return "crash-loop" }

// Target is the pod's name.
func (f *CrashLoop) Target() string { return f.Pod }

// Inject kills the container that runs now, and goes on doing so aside. The
// killing is done from here, one PodChaos a time, so that it ends with this
// process, if not before.
func (f *CrashLoop) Inject(ctx context.Context) (Injected, error) {
	before, err := f.Env.killable(ctx, f.Pod, f.Env.Container)
	if err != nil {
		return nil, err
	}
	c := &crashing{fault: f, before: before, over: make(chan struct{})}
	if err := c.kill(ctx); err != nil {
		return nil, err
	}
	lasting, stop := context.WithTimeout(context.WithoutCancel(ctx), f.Duration)
	c.stop = stop
	go c.loop(lasting)
	return c, nil
}

type crashing struct {
	fault  *CrashLoop
	before corev1.ContainerStatus
	stop   context.CancelFunc
	over   chan struct{} // closed when nothing is killed any more

	mu      sync.Mutex
	kills   []*chaosObject
	problem error // why the last kill could not be asked for
}

// loop kills each container that runs, once.
func (c *crashing) loop(ctx context.Context) {
	defer close(c.over)
	killed := map[string]bool{c.before.ContainerID: true}
	_ = wait.PollUntilContextCancel(ctx, pollEvery, true, func(ctx context.Context) (bool, error) {
		status, err := c.status(ctx)
		if err != nil || status.State.Running == nil || killed[status.ContainerID] {
			return false, nil
		}
		err = c.kill(ctx)
		killed[status.ContainerID] = err == nil
		c.mu.Lock()
		c.problem = err
		c.mu.Unlock()
		return false, nil
	})
}

// kill asks for one SIGKILL.
func (c *crashing) kill(ctx context.Context) error {
	env := c.fault.Env
	object, err := env.create(ctx, env.sigkill("crash", c.fault.Pod, env.Container))
	if err != nil {
		return err
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.kills = append(c.kills, object)
	return nil
}

func (c *crashing) status(ctx context.Context) (corev1.ContainerStatus, error) {
	env := c.fault.Env
	pod, err := env.Client.CoreV1().Pods(env.Namespace).Get(ctx, c.fault.Pod, metav1.GetOptions{})
	if err != nil {
		return corev1.ContainerStatus{}, fmt.Errorf("reading pod %s/%s: %w", env.Namespace, c.fault.Pod, err)
	}
	status, ok := containerStatus(pod, env.Container)
	if !ok {
		return status, fmt.Errorf("pod %s has no container %s", c.fault.Pod, env.Container)
	}
	return status, nil
}

// Witness waits until the kubelet has recorded a crash loop by SIGKILL.
func (c *crashing) Witness(ctx context.Context) (Witness, error) {
	var seen string
	var witness Witness
	err := wait.PollUntilContextCancel(ctx, pollEvery, true, func(ctx context.Context) (bool, error) {
		status, err := c.status(ctx)
		if err != nil {
			seen = err.Error()
			return false, nil // the deadline decides
		}
		evidence, looping := crashLooped(c.before, status)
		seen = evidence
		witness = Witness{Evidence: evidence, At: time.Now()}
		return looping, nil
	})
	if err == nil {
		return witness, nil
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.problem != nil {
		seen += "; " + c.problem.Error()
	}
	return Witness{}, fmt.Errorf("%w: %s%s", ErrNoWitness, seen, c.kills[len(c.kills)-1].complaint(ctx))
}

// crashLooped judges a container's status against the one before: it died by
// SIGKILL often enough, or the kubelet holds its restart back for that.
func crashLooped(before, now corev1.ContainerStatus) (evidence string, ok bool) {
	ended := now.LastTerminationState.Terminated
	if now.State.Terminated != nil {
		ended = now.State.Terminated
	}
	restarts := now.RestartCount - before.RestartCount
	waiting := now.State.Waiting != nil && now.State.Waiting.Reason == backOff
	switch {
	case ended == nil:
		return fmt.Sprintf("container %s has not ended", short(before.ContainerID)), false
	case ended.ExitCode != sigkillExit:
		return fmt.Sprintf("container %s ended with exit code %d, not %d", short(ended.ContainerID), ended.ExitCode, sigkillExit), false
	case restarts < deaths && !waiting:
		return fmt.Sprintf("the kubelet counts %d restarts since, the last after exit code %d", restarts, ended.ExitCode), false
	case waiting:
		return fmt.Sprintf("the kubelet reports %s after %d restarts, the last container ended with exit code %d", backOff, restarts, ended.ExitCode), true
	}
	return fmt.Sprintf("the kubelet counts %d restarts since, the last after exit code %d", restarts, ended.ExitCode), true
}

// Patience is the time of the loop: until then the kubelet may hold the next
// restart back.
func (c *crashing) Patience() time.Duration { return c.fault.Duration + 20*time.Second }

// Recover ends the killing and removes what stood for it. The kubelet restarts
// the container after its back-off.
func (c *crashing) Recover(ctx context.Context) error {
	c.stop()
	select {
	case <-c.over:
	case <-ctx.Done():
		return fmt.Errorf("waiting until pod %s is killed no more: %w", c.fault.Pod, ctx.Err())
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	var errs []error
	for _, k := range c.kills {
		errs = append(errs, k.Recover(ctx))
	}
	return errors.Join(errs...)
}

package schedule

import (
	"context"
	"errors"
	"fmt"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/util/wait"

	"github.com/vaultproof/vaultproof/pkg/fault"
)

const (
	// momentTimeout is how long the moment of the second fault may take to come: a
	// pod to end in its own time, and its successor to be placed and started.
	momentTimeout = 2 * time.Minute
	// momentEvery is how often it is looked for: an unsealing may be over in a second.
	momentEvery = 50 * time.Millisecond
)

// Overlap is a fault in the midst of another one. It is one fault to whoever injects it:
// it has hit when both have, and both are undone, the second first.
type Overlap struct {
	// Name is the kind of the two together: partition-in-failover…
	Name          string
	First, Second fault.Fault
	// Moment waits for the moment of the second, after the first was asked for; nil
	// means at once.
	Moment func(ctx context.Context, first fault.Injected) error
}

// Kind is the name.
func (o *Overlap) Kind() string { return o.Name }

// Target names both faults and their targets.
func (o *Overlap) Target() string {
	return fmt.Sprintf("%s (%s), then %s (%s)", o.First.Target(), o.First.Kind(), o.Second.Target(), o.Second.Kind())
}

// Inject injects the first, waits for the moment and injects the second. If it does not
// come to that, the first is undone.
func (o *Overlap) Inject(ctx context.Context) (fault.Injected, error) {
	first, err := o.First.Inject(ctx)
	if err != nil {
		return nil, err
	}
	second, err := o.second(ctx, first)
	if err != nil {
		return nil, errors.Join(err, first.Recover(context.WithoutCancel(ctx)))
	}
	return &overlapping{fault: o, first: first, second: second}, nil
}

func (o *Overlap) second(ctx context.Context, first fault.Injected) (fault.Injected, error) {
	if o.Moment != nil {
		waiting, cancel := context.WithTimeout(ctx, momentTimeout)
		defer cancel()
		if err := o.Moment(waiting, first); err != nil {
			return nil, fmt.Errorf("waiting for the moment of %s of %s: %w", o.Second.Kind(), o.Second.Target(), err)
		}
	}
	second, err := o.Second.Inject(ctx)
	if errors.Is(err, fault.ErrUnavailable) { // the first was injected: something was touched
		return nil, fmt.Errorf("after %s of %s, %s could not follow: %s", o.First.Kind(), o.First.Target(), o.Second.Kind(), err.Error())
	}
	return second, err
}

type overlapping struct {
	fault         *Overlap
	first, second fault.Injected
}

// Patience is that of both.
func (o *overlapping) Patience() time.Duration {
	var sum time.Duration
	for _, one := range []fault.Injected{o.first, o.second} {
		if p, ok := one.(fault.Patient); ok {
			sum += p.Patience()
		}
	}
	return sum
}

// Witness waits for the proof of both.
func (o *overlapping) Witness(ctx context.Context) (fault.Witness, error) {
	first, err := o.first.Witness(ctx)
	if err != nil {
		return fault.Witness{}, fmt.Errorf("%s of %s: %w", o.fault.First.Kind(), o.fault.First.Target(), err)
	}
	second, err := o.second.Witness(ctx)
	if err != nil {
		return fault.Witness{}, fmt.Errorf("%s of %s: %w", o.fault.Second.Kind(), o.fault.Second.Target(), err)
	}
	at := first.At
	if second.At.After(at) {
		at = second.At
	}
	return fault.Witness{Evidence: first.Evidence + "; then " + second.Evidence, At: at}, nil
}

// Recover undoes both, even if one cannot be.
func (o *overlapping) Recover(ctx context.Context) error {
	return errors.Join(o.second.Recover(ctx), o.first.Recover(ctx))
}

// Hit waits for the moment in which the first fault has hit, by its witness.
func Hit(ctx context.Context, first fault.Injected) error {
	_, err := first.Witness(ctx)
	return err
}

// Unsealing waits for the moment in which a successor of the pod with the UID has a
// running Vault and is not Ready, which is when it starts, joins and is unsealed.
func Unsealing(env *fault.Env, pod string, old types.UID) func(context.Context, fault.Injected) error {
	return func(ctx context.Context, _ fault.Injected) error {
		seen := "it was not looked at"
		err := wait.PollUntilContextCancel(ctx, momentEvery, true, func(ctx context.Context) (bool, error) {
			now, err := env.Client.CoreV1().Pods(env.Namespace).Get(ctx, pod, metav1.GetOptions{})
			if err != nil {
				if ctx.Err() == nil {
					seen = err.Error()
				}
				return false, nil // there may be none for a while; the deadline decides
			}
			unsealing, state := unsealing(now, old, env.Container)
			seen = state
			return unsealing, nil
		})
		if err != nil {
			return fmt.Errorf("pod %s was not seen being unsealed: %s", pod, seen)
		}
		return nil
	}
}

// unsealing judges a pod against the one with the UID that it succeeds.
func unsealing(pod *corev1.Pod, old types.UID, container string) (yes bool, state string) {
	if pod.UID == old {
		return false, "it is the one that was there before"
	}
	for _, c := range pod.Status.Conditions {
		if c.Type == corev1.PodReady && c.Status == corev1.ConditionTrue {
			return false, "it is Ready already"
		}
	}
	for _, c := range pod.Status.ContainerStatuses {
		if c.Name == container && c.State.Running != nil {
			return true, "its container runs"
		}
	}
	return false, "its container does not run yet"
}

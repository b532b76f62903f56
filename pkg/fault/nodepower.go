package fault

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	coordinationv1 "k8s.io/api/coordination/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/wait"
)

// KindNode is a node that was turned off.
const KindNode = "Node"

var _ = undoneBy(KindNode, turnOn)

// leaseNamespace holds one lease a node, which its kubelet renews.
const leaseNamespace = "kube-node-lease"

// Margins around what the cluster itself does.
const (
	// leaseMargin is how late a healthy kubelet may renew its lease.
	leaseMargin = 3 * time.Second
	// bootTimeout is how long a node may take until all that ran on it, Vault
	// apart, runs again.
	bootTimeout = 3 * time.Minute
)

// PowerOff turns a node off at once, with all that runs on it.
type PowerOff struct {
	Env   *Env
	Power NodePower
	Node  string
}

// Kind is node-power-off.
func (f *PowerOff) Kind() string { return "node-power-off" }

// Target is the node's name.
func (f *PowerOff) Target() string { return f.Node }

// Inject notes the node in the journal and pulls the plug.
func (f *PowerOff) Inject(ctx context.Context) (Injected, error) {
	if f.Power == nil {
		return nil, fmt.Errorf("%w: nobody here can turn node %s off", ErrUnavailable, f.Node)
	}
	running, err := f.Power.State(ctx, f.Node)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrUnavailable, err)
	}
	if !running {
		return nil, fmt.Errorf("%w: node %s is off already", ErrUnavailable, f.Node)
	}
	lease, err := f.Env.lease(ctx, f.Node)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrUnavailable, err)
	}
	off := &poweredOff{fault: f, ref: Ref{Kind: KindNode, Name: f.Node}, every: renewsEvery(lease)}
	if f.Env.Journal != nil {
		if err := f.Env.Journal.Begin(off.ref); err != nil {
			return nil, err
		}
	}
	off.at = time.Now()
	if err := f.Power.Off(ctx, f.Node); err != nil {
		return nil, fmt.Errorf("turning node %s off: %w", f.Node, err)
	}
	return off, nil
}

type poweredOff struct {
	fault *PowerOff
	ref   Ref
	at    time.Time
	every time.Duration // between two renewals of the lease
}

// Witness waits until the machine does not run, and until the node's kubelet
// has missed a renewal of its lease: the first is the word of who turned it
// off, the second that of the API server.
func (o *poweredOff) Witness(ctx context.Context) (Witness, error) {
	node := o.fault.Node
	watch := leaseWatch{patience: o.every + leaseMargin}
	seen := "the machine was not asked"
	var witness Witness
	err := wait.PollUntilContextCancel(ctx, pollEvery, true, func(ctx context.Context) (bool, error) {
		running, err := o.fault.Power.State(ctx, node)
		if err != nil || running {
			seen = fmt.Sprintf("the machine of node %s runs (%v)", node, err)
			return false, nil
		}
		lease, err := o.fault.Env.lease(ctx, node)
		if err != nil {
			seen = err.Error()
			return false, nil // the API server may stumble; the deadline decides
		}
		missed := watch.missed(renewedAt(lease), time.Now())
		seen = fmt.Sprintf("the machine of node %s does not run, but its lease was renewed at %s", node, renewedAt(lease).UTC().Format(time.RFC3339))
		witness = Witness{At: time.Now(), Evidence: fmt.Sprintf(
			"the machine of node %s does not run, and its kubelet has not renewed its lease for %s, where it does every %s", node, watch.patience, o.every)}
		return missed, nil
	})
	if err != nil {
		return Witness{}, fmt.Errorf("%w: %s", ErrNoWitness, seen)
	}
	return witness, nil
}

// Patience covers a missed renewal and what the machine takes to die.
func (o *poweredOff) Patience() time.Duration { return o.every + leaseMargin + 30*time.Second }

// leaseWatch tells when a lease has stood still for longer than patience, by
// this process's clock alone.
type leaseWatch struct {
	patience time.Duration
	renewed  time.Time // as last read
	since    time.Time // when it was first read so
}

func (w *leaseWatch) missed(renewed, now time.Time) bool {
	if w.since.IsZero() || !renewed.Equal(w.renewed) {
		w.renewed, w.since = renewed, now
	}
	return now.Sub(w.since) >= w.patience
}

// Recover turns the node on and waits until what ran on it, Vault apart, runs
// again. How Vault comes back is for others to judge.
func (o *poweredOff) Recover(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, bootTimeout)
	defer cancel()
	if err := o.fault.Power.On(ctx, o.fault.Node); err != nil {
		return fmt.Errorf("turning node %s on: %w", o.fault.Node, err)
	}
	missing := "the node was not looked at"
	err := wait.PollUntilContextCancel(ctx, pollEvery, true, func(ctx context.Context) (bool, error) {
		err := o.back(ctx)
		if err != nil && ctx.Err() == nil {
			missing = err.Error()
		}
		return err == nil, nil
	})
	if err != nil {
		return fmt.Errorf("node %s was turned on, and %s", o.fault.Node, missing)
	}
	if o.fault.Env.Journal != nil {
		return o.fault.Env.Journal.Done(o.ref)
	}
	return nil
}

// back tells what is not back on the node yet. Until its kubelet has reported,
// the API server holds what was before.
func (o *poweredOff) back(ctx context.Context) error {
	env, node := o.fault.Env, o.fault.Node
	running, err := o.fault.Power.State(ctx, node)
	if err != nil {
		return err
	}
	if !running {
		return errors.New("its machine does not run")
	}
	object, err := env.Client.CoreV1().Nodes().Get(ctx, node, metav1.GetOptions{})
	if err != nil {
		return fmt.Errorf("the API server does not tell of it: %w", err)
	}
	if !nodeReady(object) {
		return errors.New("it is not Ready")
	}
	pods, err := env.Client.CoreV1().Pods("").List(ctx, metav1.ListOptions{FieldSelector: "spec.nodeName=" + node})
	if err != nil {
		return fmt.Errorf("its pods cannot be listed: %w", err)
	}
	return restarted(pods.Items, env.Namespace, o.at)
}

// restarted judges whether all containers on a node started after it was off;
// except is a namespace that is left out. The kubelet keeps whole seconds.
func restarted(pods []corev1.Pod, except string, off time.Time) error {
	var missing []string
	for _, p := range pods {
		over := p.Status.Phase == corev1.PodSucceeded || p.Status.Phase == corev1.PodFailed
		if p.Namespace == except || over || p.DeletionTimestamp != nil {
			continue
		}
		for _, c := range p.Status.ContainerStatuses {
			if c.State.Running == nil || c.State.Running.StartedAt.Time.Before(off.Truncate(time.Second)) {
				missing = append(missing, fmt.Sprintf("%s/%s (%s)", p.Namespace, p.Name, c.Name))
			}
		}
	}
	if len(missing) > 0 {
		return fmt.Errorf("not restarted on it: %s", strings.Join(missing, ", "))
	}
	return nil
}

func nodeReady(node *corev1.Node) bool {
	for _, c := range node.Status.Conditions {
		if c.Type == corev1.NodeReady {
			return c.Status == corev1.ConditionTrue
		}
	}
	return false
}

func (e *Env) lease(ctx context.Context, node string) (*coordinationv1.Lease, error) {
	lease, err := e.Client.CoordinationV1().Leases(leaseNamespace).Get(ctx, node, metav1.GetOptions{})
	if err != nil {
		return nil, fmt.Errorf("reading the lease of node %s: %w", node, err)
	}
	return lease, nil
}

// renewsEvery is a quarter of the lease's life, as the kubelet has it.
func renewsEvery(lease *coordinationv1.Lease) time.Duration {
	seconds := int32(40) // Kubernetes' default
	if s := lease.Spec.LeaseDurationSeconds; s != nil {
		seconds = *s
	}
	return time.Duration(seconds) * time.Second / 4
}

func renewedAt(lease *coordinationv1.Lease) time.Time {
	if lease.Spec.RenewTime == nil {
		return time.Time{}
	}
	return lease.Spec.RenewTime.Time
}

// turnOn turns a node on that an earlier run turned off.
func turnOn(ctx context.Context, r *recovery, ref Ref) (bool, error) {
	if r.means.Power == nil {
		return false, fmt.Errorf("%s was turned off, and nobody here can turn it on: start its machine", ref)
	}
	running, err := r.means.Power.State(ctx, ref.Name)
	if err != nil || running {
		return false, err
	}
	err = r.means.Power.On(ctx, ref.Name)
	return err == nil, err
}

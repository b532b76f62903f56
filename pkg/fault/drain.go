package fault

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"sync"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/util/wait"
	"k8s.io/kubectl/pkg/drain"

	"github.com/vaultproof/vaultproof/pkg/kube"
)

const (
	// evictEvery is how long a drain waits after a refusal before it asks again.
	evictEvery = time.Second
	// evictTimeout bounds all evictions of a drain: a pod that another one must
	// wait for comes back within that, or the budget has no room at all.
	evictTimeout = 2 * time.Minute
)

// NodeDrain takes a node out of service as its maintenance does: a cordon, then
// evictions, which honour every PodDisruptionBudget. Pods of DaemonSets stay.
// Nothing is deleted that has no controller to replace it. It lasts until it is undone,
// as that of a real maintenance does.
type NodeDrain struct {
	Env  *Env
	Node string
}

// Kind is node-drain.
func (f *NodeDrain) Kind() string { return "node-drain" }

// Target is the node's name.
func (f *NodeDrain) Target() string { return f.Node }

// Inject notes the node in the journal, cordons it, and has its pods evicted
// aside: an eviction may be refused for a while.
func (f *NodeDrain) Inject(ctx context.Context) (Injected, error) {
	said := &lastWords{}
	lasting, stop := context.WithCancel(context.WithoutCancel(ctx))
	helper := &drain.Helper{
		Ctx: lasting, Client: f.Env.Client, GracePeriodSeconds: -1, // the pod's own
		IgnoreAllDaemonSets: true, DeleteEmptyDirData: true, // scratch space goes with every pod
		Timeout: evictTimeout, EvictErrorRetryDelay: evictEvery,
		Out: io.Discard, ErrOut: said,
	}
	pods, err := f.evictable(ctx, helper)
	if err != nil {
		stop()
		return nil, err
	}
	d := &draining{
		fault: f, pods: pods, said: said, stop: stop, over: make(chan struct{}),
		ref: Ref{Kind: KindCordon, Name: f.Node},
	}
	if err := f.Env.cordon(ctx, d.ref); err != nil {
		stop()
		return nil, err
	}
	go func() {
		defer close(d.over)
		if err := helper.DeleteOrEvictPods(pods); err != nil {
			_, _ = said.Write([]byte(err.Error()))
		}
	}()
	return d, nil
}

// evictable lists what a drain of the node would evict. Its errors are
// ErrUnavailable where the node is one that cannot be drained.
func (f *NodeDrain) evictable(ctx context.Context, helper *drain.Helper) ([]corev1.Pod, error) {
	node, err := f.Env.Client.CoreV1().Nodes().Get(ctx, f.Node, metav1.GetOptions{})
	if err != nil {
		return nil, fmt.Errorf("reading node %s before draining it: %w", f.Node, err)
	}
	if node.Spec.Unschedulable {
		return nil, fmt.Errorf("%w: node %s is cordoned already, by somebody else", ErrUnavailable, f.Node)
	}
	version, err := drain.CheckEvictionSupport(f.Env.Client)
	if err != nil {
		return nil, fmt.Errorf("asking the API server whether it evicts pods: %w", err)
	}
	if version.Empty() {
		return nil, fmt.Errorf("%w: the API server has no %s, and pods are not deleted instead", ErrUnavailable, drain.EvictionSubresource)
	}
	list, problems := helper.GetPodsForDeletion(f.Node)
	if list == nil {
		return nil, fmt.Errorf("listing the pods on node %s: %w", f.Node, errors.Join(problems...))
	}
	if len(problems) > 0 {
		return nil, fmt.Errorf("%w: draining node %s would lose pods, and nothing is forced here: %w", ErrUnavailable, f.Node, errors.Join(problems...))
	}
	pods := list.Pods()
	if len(pods) == 0 {
		return nil, fmt.Errorf("%w: there is no pod on node %s to evict", ErrUnavailable, f.Node)
	}
	for i := range pods { // refusals for the sake of a budget are part of a drain
		if _, err := kube.TryEviction(ctx, f.Env.Client, &pods[i]); apierrors.IsForbidden(err) {
			return nil, fmt.Errorf("%w: %w", ErrUnavailable, err)
		} else if err != nil {
			return nil, err
		}
	}
	return pods, nil
}

type draining struct {
	fault *NodeDrain
	ref   Ref
	pods  []corev1.Pod
	said  *lastWords
	stop  context.CancelFunc
	over  chan struct{} // closed when nothing is evicted any more
}

// Patience covers refusals, and the grace period of the slowest pod.
func (d *draining) Patience() time.Duration {
	longest := corev1.DefaultTerminationGracePeriodSeconds * time.Second
	for _, p := range d.pods {
		if s := p.Spec.TerminationGracePeriodSeconds; s != nil {
			longest = max(longest, time.Duration(*s)*time.Second)
		}
	}
	return evictTimeout + longest
}

// Witness waits until the API server has the node unschedulable and none of the
// pods that were on it. A pod that ends in its own time is forgotten only when its
// kubelet has said that its containers are gone.
func (d *draining) Witness(ctx context.Context) (Witness, error) {
	seen := "the API server was not asked in time"
	var witness Witness
	err := wait.PollUntilContextCancel(ctx, pollEvery, true, func(ctx context.Context) (bool, error) {
		evidence, drained, err := d.look(ctx)
		if err != nil {
			if ctx.Err() == nil {
				seen = err.Error()
			}
			return false, nil // the deadline decides
		}
		seen = evidence
		witness = Witness{Evidence: evidence, At: time.Now()}
		return drained, nil
	})
	if err != nil {
		return Witness{}, fmt.Errorf("%w: %s%s", ErrNoWitness, seen, d.said)
	}
	return witness, nil
}

func (d *draining) look(ctx context.Context) (evidence string, drained bool, err error) {
	client := d.fault.Env.Client.CoreV1()
	node, err := client.Nodes().Get(ctx, d.fault.Node, metav1.GetOptions{})
	if err != nil {
		return "", false, fmt.Errorf("reading node %s: %w", d.fault.Node, err)
	}
	now, err := client.Pods("").List(ctx, metav1.ListOptions{FieldSelector: "spec.nodeName=" + d.fault.Node})
	if err != nil {
		return "", false, fmt.Errorf("listing the pods on node %s: %w", d.fault.Node, err)
	}
	evidence, drained = emptied(node, d.pods, now.Items)
	return evidence, drained, nil
}

// emptied judges a node by what is on it now, against the pods to be evicted.
func emptied(node *corev1.Node, evicted, now []corev1.Pod) (evidence string, ok bool) {
	if !node.Spec.Unschedulable {
		return fmt.Sprintf("node %s is schedulable", node.Name), false
	}
	there := map[types.UID]bool{}
	for _, p := range now {
		there[p.UID] = true
	}
	var gone, left []string
	for _, p := range evicted {
		name := fmt.Sprintf("%s/%s (UID %s)", p.Namespace, p.Name, p.UID)
		if there[p.UID] {
			left = append(left, name)
		} else {
			gone = append(gone, name)
		}
	}
	if len(left) > 0 {
		return fmt.Sprintf("node %s is cordoned and still has %s", node.Name, strings.Join(left, ", ")), false
	}
	return fmt.Sprintf("node %s is unschedulable, and gone from it are %s", node.Name, strings.Join(gone, ", ")), true
}

// Recover ends the evictions and uncordons the node. Who waits for a place is
// then placed.
func (d *draining) Recover(ctx context.Context) error {
	d.stop()
	select {
	case <-d.over:
	case <-ctx.Done():
		return fmt.Errorf("waiting until nothing on node %s is evicted any more: %w", d.fault.Node, ctx.Err())
	}
	return d.fault.Env.release(ctx, d.ref)
}

// lastWords keeps the last that a drain had to complain of. It is safe for
// several goroutines.
type lastWords struct {
	mu   sync.Mutex
	text string
}

// Write takes one complaint.
func (w *lastWords) Write(line []byte) (int, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.text = strings.TrimSpace(string(line))
	return len(line), nil
}

// String is the end of a message.
func (w *lastWords) String() string {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.text == "" {
		return ""
	}
	return "; the drain says: " + w.text
}

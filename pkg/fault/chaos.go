package fault

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/chaos-mesh/chaos-mesh/api/v1alpha1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/wait"
	ctrl "sigs.k8s.io/controller-runtime/pkg/client"
)

// daemonLabel selects the pods of Chaos Mesh's daemon, in any namespace.
const daemonLabel = "app.kubernetes.io/component=chaos-daemon"

// stripAfter is how long Chaos Mesh gets to undo a fault after its object was
// deleted; undone faults were measured at half a second.
var stripAfter = 20 * time.Second

// chaosObject is a Chaos Mesh object that stands for a fault.
type chaosObject struct {
	env    *Env
	object ctrl.Object
	ref    Ref
}

func (e *Env) objectMeta(action, target string) metav1.ObjectMeta {
	return metav1.ObjectMeta{
		Name:      fmt.Sprintf("vaultproof-%s-%s-%d", action, target, time.Now().UnixMilli()),
		Namespace: e.Namespace,
		Labels:    e.labels(),
	}
}

// create journals the object, then creates it.
func (e *Env) create(ctx context.Context, object ctrl.Object) (*chaosObject, error) {
	gvk, err := e.Chaos.GroupVersionKindFor(object)
	if err != nil {
		return nil, fmt.Errorf("telling what kind of Chaos Mesh object %T is: %w", object, err)
	}
	ref := Ref{Kind: gvk.Kind, Namespace: object.GetNamespace(), Name: object.GetName()}
	if e.Journal != nil {
		if err := e.Journal.Begin(ref); err != nil {
			return nil, err
		}
	}
	if err := e.Chaos.Create(ctx, object); err != nil {
		if meta.IsNoMatchError(err) || apierrors.IsNotFound(err) {
			return nil, fmt.Errorf("%w: the cluster knows no %s; install Chaos Mesh", ErrUnavailable, gvk.Kind)
		}
		return nil, fmt.Errorf("creating %s: %w", ref, err)
	}
	return &chaosObject{env: e, object: object, ref: ref}, nil
}

// Recover deletes the object and waits until it is gone, which is when Chaos
// Mesh has undone the fault.
func (o *chaosObject) Recover(ctx context.Context) error {
	if err := remove(ctx, o.env.Chaos, o.object, o.ref); err != nil && !errors.Is(err, ErrStripped) {
		return err
	} else if o.env.Journal != nil {
		return errors.Join(err, o.env.Journal.Done(o.ref))
	} else {
		return err
	}
}

// remove deletes object and waits until it is gone. After stripAfter it removes
// the finalizers by force, and says so with ErrStripped.
func remove(ctx context.Context, client ctrl.Client, object ctrl.Object, ref Ref) error {
	if err := client.Delete(ctx, object); ctrl.IgnoreNotFound(err) != nil {
		return fmt.Errorf("deleting %s: %w", ref, err)
	}
	key := ctrl.ObjectKeyFromObject(object)
	gone := func(ctx context.Context) (bool, error) {
		err := client.Get(ctx, key, object)
		return apierrors.IsNotFound(err), nil // other errors pass; the deadline decides
	}
	patient, cancel := context.WithTimeout(ctx, stripAfter)
	defer cancel()
	if wait.PollUntilContextCancel(patient, pollEvery, true, gone) == nil {
		return nil
	}
	if err := ctx.Err(); err != nil {
		return fmt.Errorf("waiting for %s to be gone: %w", ref, err)
	}
	patch := ctrl.RawPatch("application/merge-patch+json", []byte(`{"metadata":{"finalizers":null}}`))
	if err := client.Patch(ctx, object, patch); ctrl.IgnoreNotFound(err) != nil {
		return fmt.Errorf("%s does not go, and its finalizers cannot be removed: %w", ref, err)
	}
	return fmt.Errorf("%w from %s, which Chaos Mesh did not undo in %s: replace the pods that it hit", ErrStripped, ref, stripAfter)
}

// daemonOn makes sure that Chaos Mesh can act on a node.
func (e *Env) daemonOn(ctx context.Context, node string) error {
	_, err := e.daemonPod(ctx, node)
	return err
}

func (e *Env) daemonPod(ctx context.Context, node string) (*corev1.Pod, error) {
	list, err := e.Client.CoreV1().Pods("").List(ctx, metav1.ListOptions{
		LabelSelector: daemonLabel, FieldSelector: "spec.nodeName=" + node,
	})
	if err != nil {
		return nil, fmt.Errorf("looking for Chaos Mesh's daemon on node %s: %w", node, err)
	}
	for i := range list.Items {
		for _, c := range list.Items[i].Status.Conditions {
			if c.Type == corev1.PodReady && c.Status == corev1.ConditionTrue {
				return &list.Items[i], nil
			}
		}
	}
	return nil, fmt.Errorf("%w: no ready pod labelled %s on node %s; install Chaos Mesh and let its daemon tolerate the node's taints", ErrUnavailable, daemonLabel, node)
}

// complaint is what Chaos Mesh itself says went wrong with the object, for
// messages; it is never a witness.
func (o *chaosObject) complaint(ctx context.Context) string {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), 5*time.Second)
	defer cancel()
	if err := o.env.Chaos.Get(ctx, ctrl.ObjectKeyFromObject(o.object), o.object); err != nil {
		return fmt.Sprintf("; %s cannot be read: %v", o.ref, err)
	}
	inner, ok := o.object.(v1alpha1.InnerObject)
	if !ok {
		return ""
	}
	status := inner.GetStatus()
	if failures := chaosFailures(status); failures != "" {
		return fmt.Sprintf("; Chaos Mesh says of %s: %s", o.ref, failures)
	}
	if len(status.Conditions) == 0 {
		return fmt.Sprintf("; Chaos Mesh has not looked at %s yet: is its controller running?", o.ref)
	}
	for _, c := range status.Conditions {
		if c.Type == v1alpha1.ConditionAllInjected && c.Status != corev1.ConditionTrue {
			return fmt.Sprintf("; Chaos Mesh has not injected %s, look at its controller's log (a webhook that refuses updates shows only there)", o.ref)
		}
	}
	return ""
}

// chaosFailures joins the failures in the records of a chaos object, once each.
func chaosFailures(status *v1alpha1.ChaosStatus) string {
	var messages []string
	seen := map[string]bool{}
	for _, record := range status.Experiment.Records {
		for _, event := range record.Events {
			if event.Type == v1alpha1.TypeFailed && event.Message != "" && !seen[event.Message] {
				seen[event.Message] = true
				messages = append(messages, fmt.Sprintf("%s of %s failed: %s", event.Operation, record.Id, event.Message))
			}
		}
	}
	return strings.Join(messages, "; ")
}

func podSelector(namespace string, pods []string) v1alpha1.PodSelector {
	return v1alpha1.PodSelector{
		Mode:     v1alpha1.AllMode,
		Selector: v1alpha1.PodSelectorSpec{Pods: map[string][]string{namespace: pods}},
	}
}

// short is a container id without its runtime, cut as command-line tools do.
func short(id string) string {
	if _, rest, ok := strings.Cut(id, "://"); ok {
		id = rest
	}
	if len(id) > 12 {
		id = id[:12]
	}
	return id
}

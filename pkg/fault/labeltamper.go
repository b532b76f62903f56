package fault

import (
	"context"
	"encoding/json"
	"fmt"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/watch"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/util/retry"
)

// KindLabel is a label of a pod, named POD/LABEL.
const KindLabel = "Label"

var _ = undoneBy(KindLabel, func(ctx context.Context, r *recovery, ref Ref) (bool, error) {
	return untamper(ctx, r.client, ref)
})

// LabelTamper gives a pod a label with the value true that another pod bears by
// right, as a careless hand or a stale process would.
type LabelTamper struct {
	Env   *Env
	Pod   string
	Label string
}

// Kind is label-tamper.
func (f *LabelTamper) Kind() string { return "label-tamper" }

// Target is the pod's name.
func (f *LabelTamper) Target() string { return f.Pod }

// Inject watches the pod, so that a label which is repaired at once is seen all
// the same, and sets the label.
func (f *LabelTamper) Inject(ctx context.Context) (Injected, error) {
	env := f.Env
	pods := env.Client.CoreV1().Pods(env.Namespace)
	pod, err := pods.Get(ctx, f.Pod, metav1.GetOptions{})
	if err != nil {
		return nil, fmt.Errorf("reading pod %s/%s before changing its label: %w", env.Namespace, f.Pod, err)
	}
	if pod.Labels[f.Label] == "true" {
		return nil, fmt.Errorf("%w: pod %s bears %s=true already", ErrUnavailable, f.Pod, f.Label)
	}
	seen, err := pods.Watch(ctx, metav1.ListOptions{
		FieldSelector: "metadata.name=" + f.Pod, ResourceVersion: pod.ResourceVersion,
	})
	if err != nil {
		return nil, fmt.Errorf("watching pod %s/%s: %w", env.Namespace, f.Pod, err)
	}
	t := &tampered{fault: f, seen: seen, ref: Ref{Kind: KindLabel, Namespace: env.Namespace, Name: f.Pod + "/" + f.Label}}
	if env.Journal != nil {
		if err := env.Journal.Begin(t.ref); err != nil {
			seen.Stop()
			return nil, err
		}
	}
	if err := t.set(ctx); err != nil {
		seen.Stop()
		return nil, err
	}
	return t, nil
}

type tampered struct {
	fault *LabelTamper
	seen  watch.Interface
	ref   Ref
}

func (t *tampered) set(ctx context.Context) error {
	env := t.fault.Env
	return retry.RetryOnConflict(retry.DefaultBackoff, func() error {
		pod, err := env.Client.CoreV1().Pods(env.Namespace).Get(ctx, t.fault.Pod, metav1.GetOptions{})
		if err != nil {
			return fmt.Errorf("reading pod %s/%s before changing its label: %w", env.Namespace, t.fault.Pod, err)
		}
		return setLabel(ctx, env.Client, pod, t.fault.Label, "true")
	})
}

// Witness waits until the API server tells of the pod with the label.
func (t *tampered) Witness(ctx context.Context) (Witness, error) {
	f := t.fault
	last := "the API server told of no change"
	for {
		select {
		case event, open := <-t.seen.ResultChan():
			if !open {
				return Witness{}, fmt.Errorf("%w: the watch on pod %s ended; %s", ErrNoWitness, f.Pod, last)
			}
			pod, ok := event.Object.(*corev1.Pod)
			if !ok || pod.Name != f.Pod {
				continue
			}
			if pod.Labels[f.Label] == "true" {
				return Witness{At: time.Now(), Evidence: fmt.Sprintf(
					"the API server told of pod %s with %s=true at resource version %s", f.Pod, f.Label, pod.ResourceVersion)}, nil
			}
			last = fmt.Sprintf("pod %s has %s=%q", f.Pod, f.Label, pod.Labels[f.Label])
		case <-ctx.Done():
			return Witness{}, fmt.Errorf("%w: %s", ErrNoWitness, last)
		}
	}
}

// Recover takes the label away, unless it was repaired or the pod bears it by
// right by now.
func (t *tampered) Recover(ctx context.Context) error {
	t.seen.Stop()
	env := t.fault.Env
	if _, err := untamper(ctx, env.Client, t.ref); err != nil {
		return err
	}
	if env.Journal != nil {
		return env.Journal.Done(t.ref)
	}
	return nil
}

// untamper sets the label of ref to false if another pod bears it as well: if
// none does, the pod may have become its owner. It tells whether it did.
func untamper(ctx context.Context, client kubernetes.Interface, ref Ref) (bool, error) {
	name, label, ok := strings.Cut(ref.Name, "/")
	if !ok {
		return false, fmt.Errorf("%s names no label", ref)
	}
	list, err := client.CoreV1().Pods(ref.Namespace).List(ctx, metav1.ListOptions{LabelSelector: label + "=true"})
	if err != nil {
		return false, fmt.Errorf("listing the pods with %s=true: %w", label, err)
	}
	for i := range list.Items {
		if list.Items[i].Name == name && len(list.Items) > 1 {
			err := setLabel(ctx, client, &list.Items[i], label, "false")
			if apierrors.IsConflict(err) || apierrors.IsNotFound(err) {
				return false, nil // somebody else has just changed it
			}
			return err == nil, err
		}
	}
	return false, nil
}

// setLabel changes one label of the pod that was read, and no later state of
// it.
func setLabel(ctx context.Context, client kubernetes.Interface, pod *corev1.Pod, label, value string) error {
	patch, err := json.Marshal(map[string]any{"metadata": map[string]any{
		"resourceVersion": pod.ResourceVersion, "uid": pod.UID, "labels": map[string]string{label: value},
	}})
	if err != nil {
		return fmt.Errorf("encoding a change of label: %w", err)
	}
	_, err = client.CoreV1().Pods(pod.Namespace).Patch(ctx, pod.Name, types.MergePatchType, patch, metav1.PatchOptions{})
	if err != nil {
		return fmt.Errorf("setting %s=%s on pod %s/%s: %w", label, value, pod.Namespace, pod.Name, err)
	}
	return nil
}

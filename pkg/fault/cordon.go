package fault

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/util/retry"
)

// KindCordon is a node that was made unschedulable.
const KindCordon = "Cordon"

var _ = undoneBy(KindCordon, func(ctx context.Context, r *recovery, ref Ref) (bool, error) {
	return uncordon(ctx, r.client, ref)
})

// cordonAnnotation marks a node that a run cordoned; the value names the run.
const cordonAnnotation = "vaultproof.dev/cordon"

// cordon journals the node and makes it unschedulable, with a mark that says
// who did.
func (e *Env) cordon(ctx context.Context, ref Ref) error {
	if e.Journal != nil {
		if err := e.Journal.Begin(ref); err != nil {
			return err
		}
	}
	err := retry.RetryOnConflict(retry.DefaultBackoff, func() error {
		node, err := e.Client.CoreV1().Nodes().Get(ctx, ref.Name, metav1.GetOptions{})
		if err != nil {
			return err
		}
		if node.Spec.Unschedulable {
			return fmt.Errorf("%w: somebody else has just cordoned it", ErrUnavailable)
		}
		return setCordon(ctx, e.Client, node, reason(e.RunID))
	})
	if apierrors.IsForbidden(err) {
		err = fmt.Errorf("%w: %w", ErrUnavailable, err)
	}
	if err != nil {
		err = fmt.Errorf("cordoning node %s: %w", ref.Name, err)
		return errors.Join(err, e.release(context.WithoutCancel(ctx), ref)) // it may have been done all the same
	}
	return nil
}

// release uncordons the node and tells the journal.
func (e *Env) release(ctx context.Context, ref Ref) error {
	if _, err := uncordon(ctx, e.Client, ref); err != nil {
		return err
	}
	if e.Journal != nil {
		return e.Journal.Done(ref)
	}
	return nil
}

// uncordon makes a node schedulable that a run cordoned, and tells whether it did.
// A node that a person cordoned does not bear the mark and is left alone.
func uncordon(ctx context.Context, client kubernetes.Interface, ref Ref) (undone bool, err error) {
	err = retry.RetryOnConflict(retry.DefaultBackoff, func() error {
		node, err := client.CoreV1().Nodes().Get(ctx, ref.Name, metav1.GetOptions{})
		if apierrors.IsNotFound(err) {
			return nil
		}
		if err != nil {
			return err
		}
		if !strings.HasPrefix(node.Annotations[cordonAnnotation], reason("")) {
			return nil
		}
		err = setCordon(ctx, client, node, "")
		undone = err == nil
		return err
	})
	if err != nil {
		return false, fmt.Errorf("uncordoning node %s, without which nothing is placed on it: %w", ref.Name, err)
	}
	return undone, nil
}

// setCordon changes the node that was read, and no later state of it; an empty
// mark uncordons.
func setCordon(ctx context.Context, client kubernetes.Interface, node *corev1.Node, mark string) error {
	var annotation any // null removes it
	if mark != "" {
		annotation = mark
	}
	patch, err := json.Marshal(map[string]any{
		"metadata": map[string]any{
			"resourceVersion": node.ResourceVersion, "annotations": map[string]any{cordonAnnotation: annotation},
		},
		"spec": map[string]any{"unschedulable": mark != ""},
	})
	if err != nil {
		return fmt.Errorf("encoding the cordon of node %s: %w", node.Name, err)
	}
	_, err = client.CoreV1().Nodes().Patch(ctx, node.Name, types.MergePatchType, patch, metav1.PatchOptions{})
	return err
}

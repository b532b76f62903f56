package kube

import (
	"context"
	"fmt"

	appsv1 "k8s.io/api/apps/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/util/wait"
)

// WaitEstablished waits until the API server serves every definition.
func (c *Client) WaitEstablished(ctx context.Context, definitions Objects) error {
	for _, definition := range definitions {
		err := c.waitFor(ctx, definition, func(live *unstructured.Unstructured) (bool, string) {
			return established(live), "not established"
		})
		if err != nil {
			return err
		}
	}
	return nil
}

// WaitReady waits until the workloads among objects (Deployment, DaemonSet,
// StatefulSet) run what was applied, with every pod ready. When ctx ends first, the
// error says which one is not, and how far it came.
func (c *Client) WaitReady(ctx context.Context, objects Objects) error {
	for _, object := range objects {
		if _, known := rollouts[object.GetKind()]; !known {
			continue
		}
		if err := c.waitFor(ctx, object, Rollout); err != nil {
			return err
		}
	}
	return nil
}

func (c *Client) waitFor(ctx context.Context, object *unstructured.Unstructured, done func(*unstructured.Unstructured) (bool, string)) error {
	last := "not seen yet"
	err := wait.PollUntilContextCancel(ctx, c.poll, true, func(ctx context.Context) (bool, error) {
		live, err := c.Get(ctx, object)
		if err != nil {
			// The API server may be busy or restarting: the deadline decides.
			last = err.Error()
			return false, nil
		}
		ok, state := done(live)
		last = state
		return ok, nil
	})
	if err != nil {
		return fmt.Errorf("waiting for %s (%s): %w", String(object), last, err)
	}
	return nil
}

func (c *Client) waitGone(ctx context.Context, object *unstructured.Unstructured) error {
	last := ""
	err := wait.PollUntilContextCancel(ctx, c.poll, true, func(ctx context.Context) (bool, error) {
		live, err := c.Get(ctx, object)
		if apierrors.IsNotFound(err) || meta.IsNoMatchError(err) {
			return true, nil
		}
		if err != nil {
			last = err.Error()
			return false, nil
		}
		last = fmt.Sprintf("it still has the finalizers %v", live.GetFinalizers())
		// A namespace says in its conditions what still holds it.
		conditions, _, _ := unstructured.NestedSlice(live.Object, "status", "conditions")
		for _, condition := range conditions {
			if m, ok := condition.(map[string]any); ok && m["status"] == "True" {
				last = fmt.Sprint(m["message"])
			}
		}
		return false, nil
	})
	if err != nil {
		return fmt.Errorf("waiting until %s is gone (%s): %w", String(object), last, err)
	}
	return nil
}

func established(definition *unstructured.Unstructured) bool {
	conditions, _, _ := unstructured.NestedSlice(definition.Object, "status", "conditions")
	for _, condition := range conditions {
		if m, ok := condition.(map[string]any); ok && m["type"] == "Established" && m["status"] == "True" {
			return true
		}
	}
	return false
}

var rollouts = map[string]func(map[string]any) (bool, string, error){
	"Deployment":  deployment,
	"DaemonSet":   daemonSet,
	"StatefulSet": statefulSet,
}

// Rollout says whether a workload runs its current template with every pod ready,
// and how far it is.
func Rollout(live *unstructured.Unstructured) (done bool, state string) {
	rollout, known := rollouts[live.GetKind()]
	if !known {
		return false, live.GetKind() + " has no rollout"
	}
	done, state, err := rollout(live.Object)
	if err != nil {
		return false, err.Error()
	}
	return done, state
}

func deployment(content map[string]any) (bool, string, error) {
	var d appsv1.Deployment
	if err := runtime.DefaultUnstructuredConverter.FromUnstructured(content, &d); err != nil {
		return false, "", err
	}
	want := replicas(d.Spec.Replicas)
	s := d.Status
	current := s.ObservedGeneration >= d.Generation
	return current && s.UpdatedReplicas == want && s.AvailableReplicas == want && s.Replicas == want,
		counts(s.AvailableReplicas, s.UpdatedReplicas, want), nil
}

func daemonSet(content map[string]any) (bool, string, error) {
	var d appsv1.DaemonSet
	if err := runtime.DefaultUnstructuredConverter.FromUnstructured(content, &d); err != nil {
		return false, "", err
	}
	s := d.Status
	want := s.DesiredNumberScheduled
	current := s.ObservedGeneration >= d.Generation
	return current && want > 0 && s.UpdatedNumberScheduled == want && s.NumberAvailable == want,
		counts(s.NumberAvailable, s.UpdatedNumberScheduled, want), nil
}

func statefulSet(content map[string]any) (bool, string, error) {
	var d appsv1.StatefulSet
	if err := runtime.DefaultUnstructuredConverter.FromUnstructured(content, &d); err != nil {
		return false, "", err
	}
	want := replicas(d.Spec.Replicas)
	s := d.Status
	current := s.ObservedGeneration >= d.Generation && s.UpdateRevision == s.CurrentRevision
	return current && s.UpdatedReplicas == want && s.ReadyReplicas == want,
		counts(s.ReadyReplicas, s.UpdatedReplicas, want), nil
}

func counts(ready, updated, want int32) string {
	return fmt.Sprintf("%d of %d pods ready, %d up to date", ready, want, updated)
}

func replicas(n *int32) int32 {
	if n == nil {
		return 1
	}
	return *n
}

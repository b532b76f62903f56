package kube

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"slices"
	"strings"
)

// Pod is what the sidecar knows of a pod.
type Pod struct {
	Name, UID string
	// ResourceVersion changes with every change of the object. A write that
	// changes nothing leaves it as it is.
	ResourceVersion     string
	Labels, Annotations map[string]string
}

// wirePod is the part of the API's object that matters here.
type wirePod struct {
	Metadata struct {
		Name            string            `json:"name"`
		UID             string            `json:"uid"`
		ResourceVersion string            `json:"resourceVersion"`
		Labels          map[string]string `json:"labels"`
		Annotations     map[string]string `json:"annotations"`
	} `json:"metadata"`
}

// Pod reads a pod.
func (c *Client) Pod(ctx context.Context, name string) (Pod, error) {
	var w wirePod
	if err := c.do(ctx, call{method: http.MethodGet, pod: name, doing: "reading pod " + name}, &w); err != nil {
		return Pod{}, err
	}
	m := w.Metadata
	if m.Name != name || m.ResourceVersion == "" {
		return Pod{}, fmt.Errorf("reading pod %s: %w: its answer is about %q, version %q", name, ErrUnavailable, m.Name, m.ResourceVersion)
	}
	return Pod{Name: m.Name, UID: m.UID, ResourceVersion: m.ResourceVersion, Labels: m.Labels, Annotations: m.Annotations}, nil
}

// patchOp is one operation of a JSON patch (RFC 6902).
type patchOp struct {
	Op    string `json:"op"`
	Path  string `json:"path"`
	Value any    `json:"value"`
}

// pointer escapes a key for a JSON pointer (RFC 6901).
var pointer = strings.NewReplacer("~", "~0", "/", "~1")

// SetLabels sets labels of the pod, all or none, provided that nothing of the
// pod changed since it was read; else the error is ErrConflict.
func (c *Client) SetLabels(ctx context.Context, p Pod, labels map[string]string) error {
	patch := []patchOp{{"test", "/metadata/resourceVersion", p.ResourceVersion}}
	if p.Labels == nil {
		patch = append(patch, patchOp{"add", "/metadata/labels", map[string]string{}})
	}
	var told []string
	for _, key := range slices.Sorted(maps.Keys(labels)) {
		patch = append(patch, patchOp{"add", "/metadata/labels/" + pointer.Replace(key), labels[key]})
		told = append(told, key+"="+labels[key])
	}
	doing := fmt.Sprintf("setting %s of pod %s", strings.Join(told, ", "), p.Name)
	err := c.do(ctx, call{method: http.MethodPatch, pod: p.Name, contentType: "application/json-patch+json", doing: doing, body: patch}, &wirePod{})
	if errors.Is(err, ErrInvalid) && c.changed(ctx, p) {
		// A failed test is answered with 422 and without a reason, just as a
		// label that is not accepted.
		return fmt.Errorf("%s: %w", doing, ErrConflict)
	}
	return err
}

// changed tells whether the pod is known to differ from p.
func (c *Client) changed(ctx context.Context, p Pod) bool {
	now, err := c.Pod(ctx, p.Name)
	return errors.Is(err, ErrNotFound) || err == nil && now.ResourceVersion != p.ResourceVersion
}

// Delete deletes the pod with its own grace period. If another pod has taken
// its name since, the error is ErrConflict.
func (c *Client) Delete(ctx context.Context, p Pod) error {
	body := map[string]any{"apiVersion": "v1", "kind": "DeleteOptions", "preconditions": map[string]string{"uid": p.UID}}
	return c.do(ctx, call{method: http.MethodDelete, pod: p.Name, contentType: "application/json", body: body, doing: "deleting pod " + p.Name}, &struct{}{})
}

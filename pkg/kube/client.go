package kube

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"log/slog"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/client-go/discovery"
	"k8s.io/client-go/discovery/cached/memory"
	"k8s.io/client-go/dynamic"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/restmapper"
)

// ErrForeign is wrapped by errors about objects that exist and are not ours.
var ErrForeign = errors.New("it exists and was not made by vaultproof (no label " + ManagedByLabel + "=" + ManagedBy + ")")

// Client applies and deletes objects of any kind.
type Client struct {
	dynamic dynamic.Interface
	mapper  meta.ResettableRESTMapper
	poll    time.Duration
}

// New connects to the cluster. Nothing is sent yet.
func New(config *rest.Config) (*Client, error) {
	config = Fast(config)
	disco, err := discovery.NewDiscoveryClientForConfig(config)
	if err != nil {
		return nil, fmt.Errorf("making a discovery client for %s: %w", config.Host, err)
	}
	dyn, err := dynamic.NewForConfig(config)
	if err != nil {
		return nil, fmt.Errorf("making a client for %s: %w", config.Host, err)
	}
	mapper := restmapper.NewDeferredDiscoveryRESTMapper(memory.NewMemCacheClient(disco))
	return &Client{dynamic: dyn, mapper: mapper, poll: 200 * time.Millisecond}, nil
}

// Fast returns a copy of config whose client-side rate limit is high enough for a
// deployment in one go (the default is 5 requests per second).
func Fast(config *rest.Config) *rest.Config {
	config = rest.CopyConfig(config)
	if config.QPS == 0 {
		config.QPS, config.Burst = 100, 200
	}
	return config
}

// Apply makes the cluster hold objects, by server-side apply, in the order of
// Sorted; custom resource definitions are waited for before what comes after. It
// never takes over an object that exists and is not ours (ErrForeign), and removes
// nothing.
func (c *Client) Apply(ctx context.Context, objects Objects) error {
	var definitions Objects
	for _, object := range objects.Sorted() {
		if len(definitions) > 0 && rankOf(object) > rank["CustomResourceDefinition"] {
			if err := c.WaitEstablished(ctx, definitions); err != nil {
				return err
			}
			c.mapper.Reset()
			definitions = nil
		}
		if err := c.applyOne(ctx, object); err != nil {
			return fmt.Errorf("applying %s: %w", String(object), err)
		}
		if object.GetKind() == "CustomResourceDefinition" {
			definitions = append(definitions, object)
		}
	}
	if len(definitions) > 0 {
		if err := c.WaitEstablished(ctx, definitions); err != nil {
			return err
		}
		c.mapper.Reset()
	}
	return nil
}

func (c *Client) applyOne(ctx context.Context, object *unstructured.Unstructured) error {
	resource, err := c.resource(object)
	if err != nil {
		return err
	}
	sum, err := sign(object)
	if err != nil {
		return err
	}
	live, err := resource.Get(ctx, object.GetName(), metav1.GetOptions{})
	switch {
	case apierrors.IsNotFound(err):
	case err != nil:
		return err
	case !Managed(live):
		return ErrForeign
	case live.GetDeletionTimestamp() != nil:
		// An earlier removal is still under way: what is applied now would go with it.
		slog.Info("waiting until the earlier one is gone", "object", String(object))
		if err := c.waitGone(ctx, object); err != nil {
			return err
		}
	case sum != "" && live.GetAnnotations()[checksumAnnotation] == sum:
		slog.Debug("unchanged", "object", String(object))
		return nil
	}
	options := metav1.ApplyOptions{FieldManager: FieldManager, Force: true}
	if _, err := resource.Apply(ctx, object.GetName(), object, options); err != nil {
		return err
	}
	slog.Debug("applied", "object", String(object))
	return nil
}

// checksumAnnotation on a definition tells with what content it was applied.
const checksumAnnotation = "vaultproof.dev/checksum"

// sign puts a checksum on a custom resource definition and returns it. Definitions are
// large (Chaos Mesh's are 3 MB) and applying them again costs the API server seconds.
// Other objects are always applied, which also undoes what somebody changed.
func sign(object *unstructured.Unstructured) (string, error) {
	if object.GetKind() != "CustomResourceDefinition" {
		return "", nil
	}
	annotations := object.GetAnnotations()
	if annotations == nil {
		annotations = map[string]string{}
	}
	delete(annotations, checksumAnnotation)
	object.SetAnnotations(annotations)
	content, err := object.MarshalJSON()
	if err != nil {
		return "", fmt.Errorf("computing its checksum: %w", err)
	}
	digest := sha256.Sum256(content)
	annotations[checksumAnnotation] = hex.EncodeToString(digest[:16])
	object.SetAnnotations(annotations)
	return annotations[checksumAnnotation], nil
}

// Delete removes those of objects that exist and are ours, in the reverse order of
// Apply, and waits until they are gone. Others are left alone.
func (c *Client) Delete(ctx context.Context, objects Objects) error {
	sorted := objects.Sorted()
	var deleted Objects
	for i := len(sorted) - 1; i >= 0; i-- {
		object := sorted[i]
		gone, err := c.deleteOne(ctx, object)
		if err != nil {
			return fmt.Errorf("deleting %s: %w", String(object), err)
		}
		if !gone {
			deleted = append(deleted, object)
		}
	}
	for _, object := range deleted {
		if err := c.waitGone(ctx, object); err != nil {
			return err
		}
	}
	return nil
}

// deleteOne says whether there is nothing to wait for.
func (c *Client) deleteOne(ctx context.Context, object *unstructured.Unstructured) (gone bool, err error) {
	resource, err := c.resource(object)
	if meta.IsNoMatchError(err) {
		return true, nil
	}
	if err != nil {
		return false, err
	}
	live, err := resource.Get(ctx, object.GetName(), metav1.GetOptions{})
	if apierrors.IsNotFound(err) {
		return true, nil
	}
	if err != nil {
		return false, err
	}
	if !Managed(live) {
		slog.Warn("left alone, because it is not ours", "object", String(object))
		return true, nil
	}
	// By identity: an object of the same name made in between is not ours to delete.
	uid, policy := live.GetUID(), metav1.DeletePropagationBackground
	err = resource.Delete(ctx, object.GetName(), metav1.DeleteOptions{
		Preconditions:     &metav1.Preconditions{UID: &uid},
		PropagationPolicy: &policy,
	})
	if apierrors.IsNotFound(err) || apierrors.IsConflict(err) {
		return true, nil
	}
	return false, err
}

// Get returns the live object; a NotFound error of the API where there is none.
func (c *Client) Get(ctx context.Context, object *unstructured.Unstructured) (*unstructured.Unstructured, error) {
	resource, err := c.resource(object)
	if err != nil {
		return nil, err
	}
	return resource.Get(ctx, object.GetName(), metav1.GetOptions{})
}

func (c *Client) resource(object *unstructured.Unstructured) (dynamic.ResourceInterface, error) {
	gvk := object.GroupVersionKind()
	mapping, err := c.mapper.RESTMapping(gvk.GroupKind(), gvk.Version)
	if err != nil {
		return nil, fmt.Errorf("finding the API of %s %s: %w", gvk.GroupVersion(), gvk.Kind, err)
	}
	if mapping.Scope.Name() == meta.RESTScopeNameNamespace {
		if object.GetNamespace() == "" {
			return nil, errors.New("it has no namespace")
		}
		return c.dynamic.Resource(mapping.Resource).Namespace(object.GetNamespace()), nil
	}
	return c.dynamic.Resource(mapping.Resource), nil
}

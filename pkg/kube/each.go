package kube

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/client-go/discovery"
	"k8s.io/client-go/kubernetes"
)

// pageSize is how many objects are asked for at once: definitions of resources are
// large, and all of a page are in memory.
const pageSize = 50

// Visit sees one object, in JSON as the API server gives it.
type Visit func(of schema.GroupVersionResource, object json.RawMessage) error

// Each visits every object of every API group that can be listed, in all namespaces.
// A kind that cannot be listed does not end it: the error, which names all of those,
// comes at the end. An error of visit ends the kind.
func Each(ctx context.Context, client kubernetes.Interface, visit Visit) error {
	lists, err := discovery.ToDiscoveryInterfaceWithContext(client.Discovery()).ServerPreferredResourcesWithContext(ctx)
	var errs []error
	if err != nil { // of some groups, or of all
		errs = append(errs, fmt.Errorf("asking for the API groups: %w", err))
	}
	for _, list := range lists {
		version, err := schema.ParseGroupVersion(list.GroupVersion)
		if err != nil {
			errs = append(errs, fmt.Errorf("the API server names a group version that cannot be parsed: %w", err))
			continue
		}
		for _, resource := range list.APIResources {
			if !slices.Contains(resource.Verbs, "list") || strings.Contains(resource.Name, "/") {
				continue
			}
			if err := eachOf(ctx, client, version.WithResource(resource.Name), visit); err != nil {
				errs = append(errs, fmt.Errorf("%s: %w", version.WithResource(resource.Name).GroupResource(), err))
			}
			if ctx.Err() != nil {
				return ctx.Err()
			}
		}
	}
	return errors.Join(errs...)
}

// page is a part of a list.
type page struct {
	Metadata metav1.ListMeta   `json:"metadata"`
	Items    []json.RawMessage `json:"items"`
}

// eachOf visits the objects of one resource in all namespaces.
func eachOf(ctx context.Context, client kubernetes.Interface, of schema.GroupVersionResource, visit Visit) error {
	path := []string{"/apis", of.Group, of.Version, of.Resource}
	if of.Group == "" {
		path = []string{"/api", of.Version, of.Resource}
	}
	for from := ""; ; {
		body, err := client.Discovery().RESTClient().Get().AbsPath(path...).
			SetHeader("Accept", "application/json").
			Param("limit", fmt.Sprint(pageSize)).Param("continue", from).
			Do(ctx).Raw()
		if err != nil {
			return fmt.Errorf("listing: %w", err)
		}
		var list page
		if err := json.Unmarshal(body, &list); err != nil {
			return fmt.Errorf("reading the list: %w", err)
		}
		for _, item := range list.Items {
			if err := visit(of, item); err != nil {
				return err
			}
		}
		if from = list.Metadata.Continue; from == "" {
			return nil
		}
	}
}

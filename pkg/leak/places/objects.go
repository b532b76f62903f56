package places

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/client-go/discovery"
	"k8s.io/client-go/kubernetes"
)

// pageSize is how many objects are asked for at once: definitions of resources are
// large, and all of a page are in memory.
const pageSize = 50

// objects are all objects of all API groups, as the API server gives them, with
// managedFields and annotations.
func objects(client kubernetes.Interface) Source {
	return Source{Name: "Kubernetes objects", Each: func(ctx context.Context, visit Visit) error {
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
				if err := eachObject(ctx, client, version.WithResource(resource.Name), visit); err != nil {
					errs = append(errs, fmt.Errorf("%s: %w", version.WithResource(resource.Name).GroupResource(), err))
				}
				if ctx.Err() != nil {
					return ctx.Err()
				}
			}
		}
		return errors.Join(errs...)
	}}
}

// page is a part of a list.
type page struct {
	Metadata metav1.ListMeta   `json:"metadata"`
	Items    []json.RawMessage `json:"items"`
}

// eachObject visits the objects of one resource in all namespaces.
func eachObject(ctx context.Context, client kubernetes.Interface, of schema.GroupVersionResource, visit Visit) error {
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
			if err := visit(nameOf(of, item), bytes.NewReader(item)); err != nil {
				return err
			}
		}
		if from = list.Metadata.Continue; from == "" {
			return nil
		}
	}
}

func nameOf(of schema.GroupVersionResource, item json.RawMessage) string {
	var object metav1.PartialObjectMetadata
	if err := json.Unmarshal(item, &object); err != nil {
		return of.GroupResource().String() + " of an unknown name"
	}
	name := of.GroupResource().String() + "/"
	if object.Namespace != "" {
		name += object.Namespace + "/"
	}
	return name + object.Name
}

// statuses are those of all containers of a pod.
func statuses(pod *corev1.Pod) []corev1.ContainerStatus {
	return slices.Concat(pod.Status.InitContainerStatuses, pod.Status.ContainerStatuses, pod.Status.EphemeralContainerStatuses)
}

func pods(ctx context.Context, client kubernetes.Interface) ([]corev1.Pod, error) {
	list, err := client.CoreV1().Pods("").List(ctx, metav1.ListOptions{})
	if err != nil {
		return nil, fmt.Errorf("listing the pods of the cluster: %w", err)
	}
	slices.SortFunc(list.Items, func(a, b corev1.Pod) int {
		return cmp.Or(cmp.Compare(a.Namespace, b.Namespace), cmp.Compare(a.Name, b.Name))
	})
	return list.Items, nil
}

// terminations are the last words of containers.
func terminations(client kubernetes.Interface) Source {
	return Source{Name: "termination messages", Each: func(ctx context.Context, visit Visit) error {
		all, err := pods(ctx, client)
		if err != nil {
			return err
		}
		for i := range all {
			for _, c := range statuses(&all[i]) {
				for _, state := range []corev1.ContainerState{c.State, c.LastTerminationState} {
					if state.Terminated == nil || state.Terminated.Message == "" {
						continue
					}
					item := fmt.Sprintf("the termination message of %s/%s/%s", all[i].Namespace, all[i].Name, c.Name)
					if err := visit(item, strings.NewReader(state.Terminated.Message)); err != nil {
						return err
					}
				}
			}
		}
		return nil
	}}
}

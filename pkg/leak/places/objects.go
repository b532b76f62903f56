package places

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/client-go/kubernetes"

	"github.com/vaultproof/vaultproof/pkg/kube"
)

// objects are all objects of all API groups, as the API server gives them, with
// managedFields and annotations.
func objects(client kubernetes.Interface) Source {
	return Source{Name: "Kubernetes objects", Each: func(ctx context.Context, visit Visit) error {
		return kube.Each(ctx, client, func(of schema.GroupVersionResource, object json.RawMessage) error {
			return visit(nameOf(of, object), bytes.NewReader(object))
		})
	}}
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

package kube

import (
	"context"
	"fmt"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"
)

// RoleLabel and RoleServices mark nodes that are for everything but Vault.
const (
	RoleLabel    = "vaultproof.dev/role"
	RoleServices = "services"
)

// EnsureNamespace makes a namespace of ours, which admits restricted pods only, if it
// is absent. One that exists is left as it is.
func EnsureNamespace(ctx context.Context, client kubernetes.Interface, name string) error {
	_, err := client.CoreV1().Namespaces().Get(ctx, name, metav1.GetOptions{})
	if err == nil {
		return nil
	}
	if !apierrors.IsNotFound(err) {
		return fmt.Errorf("looking for namespace %s: %w", name, err)
	}
	_, err = client.CoreV1().Namespaces().Create(ctx, &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{
		Name:   name,
		Labels: map[string]string{ManagedByLabel: ManagedBy, "pod-security.kubernetes.io/enforce": "restricted"},
	}}, metav1.CreateOptions{})
	if err != nil && !apierrors.IsAlreadyExists(err) {
		return fmt.Errorf("creating namespace %s: %w", name, err)
	}
	return nil
}

// ServicesNode is a node selector for pods that must not compete with Vault, nor be hit
// by a fault of its zone. It is nil if the cluster has no node for services.
func ServicesNode(ctx context.Context, client kubernetes.Interface) (map[string]string, error) {
	services := map[string]string{RoleLabel: RoleServices}
	nodes, err := client.CoreV1().Nodes().List(ctx, metav1.ListOptions{
		LabelSelector: RoleLabel + "=" + RoleServices, Limit: 1,
	})
	if err != nil {
		return nil, fmt.Errorf("looking for a node with label %s=%s: %w", RoleLabel, RoleServices, err)
	}
	if len(nodes.Items) == 0 {
		return nil, nil
	}
	return services, nil
}

package tenancy

import (
	"context"
	"errors"
	"fmt"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/wait"
	"k8s.io/client-go/kubernetes"

	"github.com/vaultproof/vaultproof/pkg/target"
	"github.com/vaultproof/vaultproof/pkg/tenancy"
)

const (
	// goneTimeout is how long a namespace may take to go.
	goneTimeout = 90 * time.Second
	// goneEvery is how often it is looked at.
	goneEvery = 500 * time.Millisecond
)

// own are the labels of what a tenant of ours has in its cluster, whichever run made it.
var own = map[string]string{target.ManagedBy: target.ManagedByValue}

// moveIn makes a tenant's namespace and its service account, which may have its token
// reviewed. What is there already will do.
func (e *Env) moveIn(ctx context.Context, t tenancy.Tenant) error {
	client := e.Cluster.Client
	if err := ensureNamespace(ctx, client, t.Namespace); err != nil {
		return err
	}
	account := &corev1.ServiceAccount{ObjectMeta: metav1.ObjectMeta{Namespace: t.Namespace, Name: t.ServiceAccount, Labels: own}}
	if _, err := client.CoreV1().ServiceAccounts(t.Namespace).Create(ctx, account, metav1.CreateOptions{}); err != nil && !apierrors.IsAlreadyExists(err) {
		return fmt.Errorf("creating service account %s/%s in the tenant cluster: %w", t.Namespace, t.ServiceAccount, err)
	}
	binding := bindingOf(t.Namespace, t.ServiceAccount, "")
	binding.Labels = own
	return bind(ctx, client, binding)
}

// ensureNamespace makes a namespace, after one of the same name that is on its way out.
func ensureNamespace(ctx context.Context, client kubernetes.Interface, name string) error {
	ctx, cancel := context.WithTimeout(ctx, goneTimeout)
	defer cancel()
	err := wait.PollUntilContextCancel(ctx, goneEvery, true, func(ctx context.Context) (bool, error) {
		_, err := client.CoreV1().Namespaces().Create(ctx, &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: name, Labels: own}}, metav1.CreateOptions{})
		if !apierrors.IsAlreadyExists(err) {
			return err == nil, err
		}
		there, err := client.CoreV1().Namespaces().Get(ctx, name, metav1.GetOptions{})
		if apierrors.IsNotFound(err) {
			return false, nil
		}
		if err != nil {
			return false, err
		}
		if there.Labels[target.ManagedBy] != target.ManagedByValue {
			return false, fmt.Errorf("it exists and was not made by vaultproof (no label %s=%s)", target.ManagedBy, target.ManagedByValue)
		}
		return there.DeletionTimestamp == nil, nil
	})
	if err != nil {
		return fmt.Errorf("creating namespace %s in the tenant cluster: %w", name, err)
	}
	return nil
}

// moveOut deletes what the tenants have in their cluster.
func (e *Env) moveOut(ctx context.Context) error {
	client := e.Cluster.Client
	var errs []error
	for _, t := range e.both() {
		name := bindingOf(t.Namespace, t.ServiceAccount, "").Name
		if err := client.RbacV1().ClusterRoleBindings().Delete(ctx, name, metav1.DeleteOptions{}); err != nil && !apierrors.IsNotFound(err) {
			errs = append(errs, fmt.Errorf("deleting ClusterRoleBinding %s of the tenant cluster: %w", name, err))
		}
		errs = append(errs, removeNamespace(ctx, client, t.Namespace))
	}
	return errors.Join(errs...)
}

// removeNamespace deletes a namespace, and does not wait until it is gone.
func removeNamespace(ctx context.Context, client kubernetes.Interface, name string) error {
	if err := client.CoreV1().Namespaces().Delete(ctx, name, metav1.DeleteOptions{}); err != nil && !apierrors.IsNotFound(err) {
		return fmt.Errorf("deleting namespace %s of the tenant cluster: %w", name, err)
	}
	return nil
}

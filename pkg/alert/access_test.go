package alert

import (
	"os"
	"slices"
	"testing"

	"github.com/hashicorp/vault/api"

	"github.com/vaultproof/vaultproof/pkg/ceremony/vaulttest"
)

// TestAccessWithARealVault: with no more than the provisioner's rights the recorder
// gets a token that reads metrics and nothing else, and leaves nothing behind.
func TestAccessWithARealVault(t *testing.T) {
	v := vaulttest.Start(t)
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	policy, err := os.ReadFile("../../bootstrap/policies/provisioner.hcl")
	must(err)
	must(v.Root().Sys().PutPolicy("provisioner", string(policy)))
	made, err := v.Root().Auth().Token().CreateOrphan(&api.TokenCreateRequest{Policies: []string{"provisioner"}, NoDefaultPolicy: true})
	must(err)
	provisioner := v.Client(made.Auth.ClientToken)

	var got access
	must(got.make(t.Context(), provisioner))
	// This Vault has no telemetry stanza, so that its metrics come as JSON.
	metrics := func() error {
		answer, err := v.Client(got.token).Logical().ReadRawWithContext(t.Context(), "sys/metrics")
		if err == nil {
			answer.Body.Close()
		}
		return err
	}
	must(metrics())
	if _, err := v.Client(got.token).Sys().ListMounts(); err == nil {
		t.Error("the token reads more than metrics")
	}
	must(got.remove(t.Context(), provisioner))
	if metrics() == nil {
		t.Error("the token is alive after it was taken back")
	}
	policies, err := v.Root().Sys().ListPolicies()
	must(err)
	if slices.Contains(policies, accessName) {
		t.Error("its policy is left")
	}
}

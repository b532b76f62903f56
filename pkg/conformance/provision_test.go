package conformance

import (
	"context"
	"net"
	"os"
	"os/exec"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/hashicorp/vault/api"

	"github.com/vaultproof/vaultproof/pkg/probe"
)

// devVault starts a Vault that forgets all, and gives a client with its root token.
func devVault(t *testing.T) *api.Client {
	t.Helper()
	binary := os.Getenv("VAULT_BINARY")
	if binary == "" {
		t.Skip("VAULT_BINARY does not name a Vault binary")
	}
	listener, err := (&net.ListenConfig{}).Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	address := listener.Addr().String()
	_ = listener.Close()
	cmd := exec.CommandContext(t.Context(), binary, "server", "-dev", "-dev-no-store-token", "-dev-root-token-id=root", "-dev-listen-address="+address)
	cmd.Env = append(os.Environ(), "HOME="+t.TempDir())
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = cmd.Process.Kill(); _ = cmd.Wait() })
	config := api.DefaultConfig()
	config.Address, config.MaxRetries = "http://"+address, 0
	c, err := api.NewClient(config)
	if err != nil {
		t.Fatal(err)
	}
	c.SetToken("root")
	patience, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	for {
		if health, err := c.Sys().HealthWithContext(patience); err == nil && !health.Sealed {
			return c
		}
		select {
		case <-patience.Done():
			t.Fatal("Vault does not come up")
		case <-time.After(100 * time.Millisecond):
		}
	}
}

func bearing(t *testing.T, c *api.Client, token string) *api.Client {
	t.Helper()
	other, err := c.Clone()
	if err != nil {
		t.Fatal(err)
	}
	other.SetToken(token)
	return other
}

func TestTheLoadGetsWhatItNeedsAndNoMore(t *testing.T) {
	c := devVault(t)
	p := &provisioned{}
	if err := p.prepare(t.Context(), c); err != nil {
		t.Fatal(err)
	}
	if len(p.leftOut) > 0 || p.engines != (probe.Engines{Transit: transitMount, SSH: sshMount}) {
		t.Fatalf("engines %+v, left out %v", p.engines, p.leftOut)
	}
	if mix := trafficMix(p.engines); mix.Registers != probe.DefaultRate || mix.Transit == 0 || mix.Leases == 0 {
		t.Errorf("the mix is %+v", mix)
	}
	load := bearing(t, c, p.token)
	write := func(c *api.Client, path string, data map[string]any) *api.Secret {
		secret, err := c.Logical().WriteWithContext(t.Context(), path, data)
		if err != nil {
			t.Fatalf("%s: %v", path, err)
		}
		return secret
	}
	refused := func(c *api.Client, path string, data map[string]any) {
		if _, err := c.Logical().WriteWithContext(t.Context(), path, data); !answered(err, 403) && !answered(err, 400) {
			t.Errorf("%s: %v, want it refused", path, err)
		}
	}
	lease := write(load, sshMount+"/creds/"+probe.LeaseRole, map[string]any{"ip": probe.LeaseHost})
	if lease.LeaseID == "" || lease.LeaseDuration == 0 {
		t.Fatalf("the lease has no id or no life (%d s)", lease.LeaseDuration)
	}
	write(load, "sys/leases/lookup", map[string]any{"lease_id": lease.LeaseID})
	write(load, "sys/leases/revoke", map[string]any{"lease_id": lease.LeaseID, "sync": true})
	child := write(load, "auth/token/create", map[string]any{"policies": []string{"default"}, "ttl": "30m"})
	if !slices.Equal(child.Auth.Policies, []string{"default"}) {
		t.Errorf("a child of the load has the policies %v, want default alone", child.Auth.Policies)
	}
	write(bearing(t, c, child.Auth.ClientToken), "auth/token/renew-self", nil)
	sealed := write(load, transitMount+"/encrypt/"+probe.TransitKey, map[string]any{"plaintext": "YQ=="})
	write(load, transitMount+"/decrypt/"+probe.TransitKey, map[string]any{"ciphertext": sealed.Data["ciphertext"]})

	refused(load, "sys/leases/revoke", map[string]any{"lease_id": "auth/token/create/" + lease.LeaseID})
	refused(load, "sys/leases/revoke-prefix/"+sshMount, nil)
	refused(load, "secret/data/other", map[string]any{"data": map[string]any{"a": "b"}})
	refused(load, transitMount+"/keys/other", nil)
	refused(load, "auth/token/create", map[string]any{"policies": []string{"root"}})
	refused(load, "sys/mounts/"+probeName+"-more", map[string]any{"type": "kv"})

	for range 2 { // what is gone already is no error
		if err := p.takeAway(t.Context(), c); err != nil {
			t.Fatal(err)
		}
	}
	mounts, err := c.Sys().ListMountsWithContext(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	for path := range mounts {
		if strings.HasPrefix(path, probeName) {
			t.Errorf("%s is left behind", path)
		}
	}
	if _, err := bearing(t, c, child.Auth.ClientToken).Auth().Token().LookupSelfWithContext(t.Context()); !answered(err, 403) {
		t.Errorf("a token of the load outlives it (%v)", err)
	}
}

// What the target does not allow is left out, and said.
func TestEnginesThatMayNotBeMountedAreLeftOut(t *testing.T) {
	c := devVault(t)
	const narrow = `path "sys/mounts/` + probeName + `" { capabilities = ["create", "update", "delete"] }
path "sys/mounts/` + sshMount + `" { capabilities = ["create", "update", "delete"] }
path "sys/policies/acl/` + probeName + `" { capabilities = ["create", "update", "delete"] }
path "sys/policy/` + probeName + `" { capabilities = ["create", "update", "delete"] }
path "auth/token/roles/` + probeName + `" { capabilities = ["create", "update", "delete"] }
path "auth/token/create/` + probeName + `" { capabilities = ["create", "update"] }
`
	if err := c.Sys().PutPolicyWithContext(t.Context(), "narrow", narrow); err != nil {
		t.Fatal(err)
	}
	secret, err := c.Auth().Token().CreateWithContext(t.Context(), &api.TokenCreateRequest{Policies: []string{"narrow"}})
	if err != nil {
		t.Fatal(err)
	}
	provisioner := bearing(t, c, secret.Auth.ClientToken)
	p := &provisioned{}
	if err := p.prepare(t.Context(), provisioner); err != nil {
		t.Fatal(err)
	}
	if p.engines != (probe.Engines{SSH: sshMount}) {
		t.Errorf("engines %+v, want ssh alone", p.engines)
	}
	if len(p.leftOut) != 1 || !strings.HasPrefix(p.leftOut[0], "transit: mounting transit at "+transitMount+"/: ") {
		t.Errorf("left out: %q", p.leftOut)
	}
	if mix := trafficMix(p.engines); mix.Transit != 0 || mix.Leases == 0 {
		t.Errorf("the mix is %+v", mix)
	}
	if err := p.takeAway(t.Context(), provisioner); err != nil {
		t.Error(err)
	}
}

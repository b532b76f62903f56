package tls

import (
	"slices"
	"testing"
	"time"

	"github.com/vaultproof/vaultproof/pkg/issuer"
	"github.com/vaultproof/vaultproof/pkg/target"
)

func TestTheCertificateIsForEveryName(t *testing.T) {
	vault := &target.Target{Namespace: "vault", ActiveService: "vault-active", HeadlessService: "vault-internal", ServerName: "vault-active.vault.svc"}
	all := []string{"127.0.0.1", "vault-active", "vault-active.vault", "vault-active.vault.svc", "*.vault-internal", "*.vault-internal.vault.svc.cluster.local", publicHost}
	names := append(namesOf(vault, "vault-2"), publicHost)
	for _, missing := range append([]string{""}, all...) {
		_, pair := certified(t, time.Hour, slices.DeleteFunc(slices.Clone(all), func(name string) bool { return name == missing })...)
		leaf, err := issuer.Leaf(pair.Cert)
		if err != nil {
			t.Fatal(err)
		}
		want := ""
		if missing != "" {
			want = "is not for"
		}
		says(t, "without "+missing, covers("vault-2", leaf, names), want)
	}
}

func TestJoins(t *testing.T) {
	const ours = `storage "raft" {
  # retry_join { leader_api_addr = "http://old:8200" }
  retry_join {
    leader_api_addr       = "https://vault-0.vault-internal:8200"
    leader_ca_cert_file   = "/vault/tls/ca.crt"
    leader_tls_servername = "vault-0.vault-internal"
  }
  retry_join {
    leader_api_addr       = "https://vault-1.vault-internal:8200"
    leader_tls_servername = "vault-active.vault.svc"
  }
  retry_join { auto_join = "provider=k8s" }
}`
	names, err := joins(map[string]string{"vault-config/vault.hcl": ours})
	if err != nil || !slices.Equal(names["vault-0"], []string{"vault-0.vault-internal"}) || !slices.Equal(names["vault-1"], []string{"vault-active.vault.svc"}) || len(names) != 2 {
		t.Errorf("found %v (%v)", names, err)
	}
	for name, text := range map[string]string{
		"in clear": `retry_join { leader_api_addr = "http://vault-0.vault-internal:8200" }`,
		"JSON":     `{"storage":{"raft":{"retry_join":[{"leader_api_addr":"http://vault-0:8200"}]}}}`,
		"no URL":   `retry_join { leader_api_addr = "::" }`,
	} {
		_, err := joins(map[string]string{"a/b": text})
		says(t, name, err, "want https")
	}
}

func TestAVaultWithoutTLSIsNamed(t *testing.T) {
	vault := &target.Target{Namespace: "vault"}
	says(t, "TLS is on", offHere(vault, "this"), "")
	vault.Plaintext = true
	says(t, "TLS is off", offHere(vault, "this"), "namespace vault speaks plain HTTP on port 8200")
}

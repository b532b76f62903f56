package ops

import (
	"encoding/base64"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"

	"github.com/vaultproof/vaultproof/pkg/leak"
)

func TestNotVerbose(t *testing.T) {
	for place, c := range map[string]struct {
		level string
		bad   bool
	}{"a": {"info", false}, "b": {"WARN", false}, "c": {"debug", true}, "d": {"Trace", true}, "e": {"2", true}} {
		if err := notVerbose(map[string]string{place: c.level}); (err != nil) != c.bad {
			t.Errorf("level %s: %v", c.level, err)
		}
	}
}

func TestConfiguredLevels(t *testing.T) {
	spec := corev1.PodSpec{Containers: []corev1.Container{
		{Name: "bootstrap", Args: []string{"-log-level=trace"}},
		{Name: "vault", Command: []string{"/bin/vault", "server"}, Args: []string{"-log-level=debug"}, Env: []corev1.EnvVar{{Name: "VAULT_LOG_LEVEL", Value: "warn"}}},
	}}
	levels := configuredLevels(spec, "vault", map[string]string{
		"vault-config/vault.hcl": "# log_level = \"trace\"\nlog_level  = \"error\"\n",
		"vault-config/more.json": `{"log_level":"info"}`,
		"vault-ca/ca.crt":        "-----BEGIN CERTIFICATE-----",
	})
	for place, want := range map[string]string{
		"the arguments of container vault":   "debug",
		"VAULT_LOG_LEVEL of container vault": "warn",
		"ConfigMap vault-config/vault.hcl":   "error",
		"ConfigMap vault-config/more.json":   "info",
	} {
		if levels[place] != want {
			t.Errorf("%s: level %q, want %q", place, levels[place], want)
		}
	}
	if len(levels) != 4 {
		t.Errorf("levels %v, want 4 (the sidecar's is its own)", levels)
	}
}

func TestCleanFindsAPlantedSecret(t *testing.T) {
	share := []byte("0123456789abcdef0123456789abcdef!")
	scanner, err := leak.New(leak.Needle{Name: "unseal-share-0", Value: share})
	if err != nil {
		t.Fatal(err)
	}
	line := `{"level":"debug","msg":"unsealing with ` + base64.StdEncoding.EncodeToString(share) + `"}`
	dirty := scanned{name: "vault-0/bootstrap", bytes: int64(len(line)), found: scanner.ScanBytes([]byte(line))}
	if err := clean([]scanned{dirty}); err == nil || !strings.Contains(err.Error(), "unseal-share-0 (base64") || !strings.Contains(err.Error(), "vault-0/bootstrap") {
		t.Errorf("a planted share: %v", err)
	} else if strings.Contains(err.Error(), base64.StdEncoding.EncodeToString(share)) {
		t.Error("the message itself holds the secret")
	}
	if err := clean([]scanned{{name: "vault-0/vault", bytes: 10}}); err != nil {
		t.Error(err)
	}
	if err := clean([]scanned{{name: "vault-0/vault"}}); err == nil {
		t.Error("empty logs pass")
	}
	if err := clean(nil); err == nil {
		t.Error("no logs pass")
	}
}

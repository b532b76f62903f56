package target

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

func writeFile(t *testing.T, text string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "target.yaml")
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

func TestTargetFile(t *testing.T) {
	f, err := LoadFile(writeFile(t, `
namespace: secrets
statefulSet: keeper
services:
  active: keeper-active
  clients: [keeper, keeper-active]
tls:
  serverName: vault.example.org
  caSecret: keeper-tls
ingress:
  - host: vault.example.org
    address: 203.0.113.5
custody:
  configMap: vault/vault-custody
  prefix: keeper
`))
	if err != nil {
		t.Fatal(err)
	}
	if f.Namespace != "secrets" || f.StatefulSet != "keeper" || !slices.Equal(f.Services.Clients, []string{"keeper", "keeper-active"}) ||
		f.TLS.CASecret != "keeper-tls" || f.Ingress[0].Address != "203.0.113.5" || f.Custody.Prefix != "keeper" || f.TLS.Plaintext != nil {
		t.Errorf("read %+v", f)
	}
	if f, err := LoadFile(writeFile(t, "# nothing but this\n")); err != nil || f.Namespace != "" {
		t.Errorf("an empty file: %+v, %v", f, err)
	}
}

func TestPathsAreRelativeToTheTargetFile(t *testing.T) {
	path := writeFile(t, "tokenFile: token\n")
	if err := os.WriteFile(filepath.Join(filepath.Dir(path), "token"), []byte("hvs.x\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	f, err := LoadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if content, err := f.read("tokenFile", f.TokenFile); err != nil || string(content) != "hvs.x\n" {
		t.Errorf("token of %d bytes, %v", len(content), err)
	}
	if _, err := f.read("tls.caFile", "absent"); err == nil || !strings.Contains(err.Error(), "tls.caFile") {
		t.Errorf("a file that is not there: %v", err)
	}
}

func TestBadTargetFilesAreOneClearSentence(t *testing.T) {
	for want, text := range map[string]string{
		"line 2: there is no field servises, known are namespace, statefulSet, container, services.active": "namespace: a\nservises:\n  active: b\n",
		"line 3: there is no field aktive, known are":                                                      "services:\n  # which\n  aktive: b\n",
		"namespace is a number, want text (in quotes":                                                      "namespace: 7\n",
		"services.clients is text, want a list":                                                            "services:\n  clients: vault\n",
		"tls.plaintext is text, want true or false":                                                        "tls:\n  plaintext: \"yes\"\n",
		"tls is text, want fields below it":                                                                "tls: none please\n",
		"what it holds is a list, want fields below it":                                                    "- namespace: a\n",
		"is not YAML, or says a thing twice":                                                               "namespace: a\nnamespace: b\n",
		"mend that line":                                                                                   "namespace: [a\n",
		"keep one of caFile, caConfigMap and caSecret":                                                     "tls: {caFile: a, caSecret: b}\n",
		"tls.plaintext is true and tls names a CA":                                                         "tls: {plaintext: true, caSecret: b}\n",
		"name caConfigMap or caSecret beside it":                                                           "tls: {caKey: ca.crt}\n",
		"custody says not where it is":                                                                     "custody: {prefix: vault}\n",
		"ingress[1] lacks its host or its address: give both":                                              "ingress: [{host: a, address: b}, {host: c}]\n",
	} {
		path := writeFile(t, text)
		_, err := LoadFile(path)
		if err == nil || !strings.Contains(err.Error(), want) || !strings.Contains(err.Error(), path) {
			t.Errorf("%q: %v, want the file and %q", text, err, want)
		}
	}
	if _, err := LoadFile(filepath.Join(t.TempDir(), "none.yaml")); err == nil || !strings.Contains(err.Error(), "-target") {
		t.Errorf("no file: %v", err)
	}
}

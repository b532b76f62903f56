package tls

import (
	"encoding/json"
	"strings"
	"testing"
)

func TestRefusesPlaintext(t *testing.T) {
	for name, c := range map[string]struct {
		raw  string
		want string
	}{
		"Go's TLS listener":  {"HTTP/1.0 400 Bad Request\r\n\r\nClient sent an HTTP request to an HTTPS server.\n", ""},
		"closed":             {"", ""},
		"TLS alert":          {"\x15\x03\x01\x00\x02\x02\x16", ""},
		"Vault":              {"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n\r\n{\"initialized\":true,\"sealed\":false}", "answered sys/health in clear with status 200"},
		"a sealed Vault":     {"HTTP/1.1 503 Service Unavailable\r\n\r\n{\"initialized\":true,\"sealed\":true}", "status 503"},
		"Vault that refuses": {"HTTP/1.1 400 Bad Request\r\n\r\n{\"errors\":[\"missing client token\"]}", "in clear"},
		"Vault by header":    {"HTTP/1.1 400 Bad Request\r\nX-Vault-Hostname: vault-0\r\n\r\n", "in clear"},
		"a proxy":            {"HTTP/1.1 301 Moved\r\nLocation: https://x\r\n\r\n", "answered plain HTTP with status 301"},
	} {
		err := refusesPlaintext("vault-0", parseAnswer([]byte(c.raw)))
		if (c.want == "") != (err == nil) || err != nil && !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %v, want %q", name, err, c.want)
		}
	}
}

func TestOnlyTLSListeners(t *testing.T) {
	config := func(text string) map[string]any {
		var data map[string]any
		if err := json.Unmarshal([]byte(text), &data); err != nil {
			t.Fatal(err)
		}
		return data
	}
	good := `{"config":{"address":"[::]:8200","tls_cert_file":"/c"},"type":"tcp"}`
	if n, err := onlyTLSListeners(config(`{"listeners":[` + good + `]}`)); err != nil || n != 1 {
		t.Errorf("%d listeners (%v)", n, err)
	}
	for name, text := range map[string]string{
		"loopback in clear":     `{"listeners":[` + good + `,{"config":{"address":"127.0.0.1:8300","tls_disable":true},"type":"tcp"}]}`,
		"disabled by a string":  `{"listeners":[{"config":{"tls_disable":"1"},"type":"tcp"}]}`,
		"disabled by a number":  `{"listeners":[{"config":{"tls_disable":1},"type":"tcp"}]}`,
		"a value that is weird": `{"listeners":[{"config":{"tls_disable":"maybe"},"type":"tcp"}]}`,
		"no listener":           `{"listeners":[]}`,
		"no listeners at all":   `{}`,
		"a listener unreadable": `{"listeners":[{"type":"tcp"}]}`,
	} {
		if _, err := onlyTLSListeners(config(text)); err == nil {
			t.Errorf("%s: passes", name)
		}
	}
	if _, err := onlyTLSListeners(config(`{"listeners":[{"config":{"tls_disable":"false"},"type":"tcp"}]}`)); err != nil {
		t.Errorf("tls_disable=false: %v", err)
	}
}

func TestNoPlainListenerIn(t *testing.T) {
	good := "listener \"tcp\" {\n  address = \"[::]:8200\"\n  # tls_disable = true\n  tls_disable = false\n}"
	if err := noPlainListenerIn(map[string]string{"vault-config/vault.hcl": good}); err != nil {
		t.Error(err)
	}
	if !mentionsListener(map[string]string{"a": good}) || mentionsListener(map[string]string{"a": "# listener\nui = true"}) {
		t.Error("whether a file configures a listener is not told right")
	}
	for _, text := range []string{
		"listener \"tcp\" {\n  tls_disable = 1\n}",
		"listener \"tcp\" { tls_disable = \"true\" }",
		`{"listener":{"tcp":{"address":"127.0.0.1:8200","tls_disable":true}}}`,
	} {
		err := noPlainListenerIn(map[string]string{"vault-config/vault.hcl": text})
		if err == nil || !strings.Contains(err.Error(), "vault-config/vault.hcl says") {
			t.Errorf("%q: %v", text, err)
		}
	}
}

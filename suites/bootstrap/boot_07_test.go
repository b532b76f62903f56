package bootstrap

import (
	"encoding/json"
	"errors"
	"net/http"
	"net/http/httptest"
	"testing"

	"github.com/hashicorp/vault/api"

	"github.com/vaultproof/vaultproof/pkg/custody"
)

func TestRootRevoked(t *testing.T) {
	refused := rootVersion{version: "1", state: custody.Enabled, asked: true}
	for name, c := range map[string]struct {
		versions []rootVersion
		want     string
	}{
		"never stored": {nil, ""},
		"refused":      {[]rootVersion{refused}, ""},
		"destroyed":    {[]rootVersion{{version: "2", state: custody.Destroyed}, refused}, ""},
		"alive":        {[]rootVersion{{version: "1", state: custody.Enabled, asked: true, alive: true, policies: []string{"root"}}}, "version 1 of secret vault-root-token, with the policies [root]; want 403"},
		"an old one":   {[]rootVersion{refused, {version: "7", state: custody.Enabled, asked: true, alive: true}}, "version 7"},
		"disabled":     {[]rootVersion{{version: "3", state: custody.Disabled}}, ""},
		"not asked":    {[]rootVersion{{version: "4", state: custody.Enabled}}, "was not asked"},
	} {
		wants(t, name, rootRevoked("vault-root-token", c.versions), c.want)
	}
	if anyRefused([]rootVersion{{state: custody.Destroyed}, {asked: true, alive: true}}) || !anyRefused([]rootVersion{refused}) {
		t.Error("a refusal is seen where there is none, or missed")
	}
}

// vaultAnswering is a client of a Vault that gives every request one answer.
func vaultAnswering(t *testing.T, status int, body string) *api.Client {
	t.Helper()
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.WriteHeader(status)
		_, _ = w.Write([]byte(body))
	}))
	t.Cleanup(server.Close)
	client, err := api.NewClient(&api.Config{Address: server.URL, MaxRetries: 0})
	if err != nil {
		t.Fatal(err)
	}
	return client
}

func TestLookupSelfTellsRefusalFromTrouble(t *testing.T) {
	fields, err := lookupSelf(t.Context(), vaultAnswering(t, 200, `{"data":{"policies":["root"],"ttl":0}}`), []byte("token\n"))
	if err != nil || len(texts(fields["policies"])) != 1 || fields["ttl"] != json.Number("0") {
		t.Errorf("a live token: %v, error %v", fields, err)
	}
	if _, err := lookupSelf(t.Context(), vaultAnswering(t, 403, `{"errors":["permission denied"]}`), []byte("token")); !errors.Is(err, errTokenRefused) {
		t.Errorf("a refused token: %v", err)
	}
	for status, body := range map[int]string{500: `{"errors":["internal error"]}`, 503: `{"errors":["Vault is sealed"]}`, 200: `{}`, 400: `{"errors":[]}`} {
		if _, err := lookupSelf(t.Context(), vaultAnswering(t, status, body), []byte("token")); err == nil || errors.Is(err, errTokenRefused) {
			t.Errorf("status %d passes for a refusal: %v", status, err)
		}
	}
}

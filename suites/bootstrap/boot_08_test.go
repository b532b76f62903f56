package bootstrap

import (
	"encoding/json"
	"errors"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/hashicorp/vault/api"
)

func TestNoRootToken(t *testing.T) {
	own := liveToken{accessor: "own", policies: []string{"root"}}
	provisioner := liveToken{accessor: "p", display: "token-provisioner", policies: []string{"provisioner"}}
	forgotten := liveToken{accessor: "f", display: "root", path: "auth/token/root", policies: []string{"root"}, created: time.Unix(0, 0).UTC()}
	for name, c := range map[string]struct {
		tokens []liveToken
		want   string
	}{
		"as it should be":    {[]liveToken{provisioner, own}, ""},
		"the initial root":   {[]liveToken{own, provisioner, forgotten}, `1 of 3 live tokens carry the policy root ("root" with accessor f, made at 1970-01-01T00:00:00Z by auth/token/root)`},
		"root among others":  {[]liveToken{own, {accessor: "x", policies: []string{"default", "root"}}}, "accessor x"},
		"two of them":        {[]liveToken{own, forgotten, {accessor: "g", policies: []string{"root"}}}, "2 of 3"},
		"blind":              {[]liveToken{provisioner}, "is not among them"},
		"own without policy": {[]liveToken{{accessor: "own", policies: []string{"default"}}}, "is not among them"},
		"nothing":            {nil, "is not among them"},
	} {
		wants(t, name, noRootToken(c.tokens, "own"), c.want)
	}
	if err := noRootToken(nil, "own"); !errors.Is(err, errBlind) {
		t.Errorf("an empty list: %v, want one that says it proves nothing", err)
	}
	if err := noRootToken([]liveToken{own, forgotten}, "own"); errors.Is(err, errBlind) {
		t.Error("a root token is taken for blindness")
	}
}

func TestParseLiveToken(t *testing.T) {
	got := parseLiveToken("a", map[string]any{
		"display_name": "root", "path": "auth/token/root", "creation_time": json.Number("60"),
		"policies": []any{"default"}, "identity_policies": []any{"root"},
	})
	if got.display != "root" || got.created.Unix() != 60 || strings.Join(got.policies, ",") != "default,root" {
		t.Errorf("read %+v", got)
	}
	if got := parseLiveToken("a", map[string]any{"policies": "root", "creation_time": true}); len(got.policies) != 0 || !got.created.IsZero() {
		t.Errorf("out of nonsense: %+v", got)
	}
}

func TestLiveTokensPassesOverTheDead(t *testing.T) {
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch r.URL.Path {
		case "/v1/auth/token/lookup-self":
			_, _ = w.Write([]byte(`{"data":{"accessor":"own"}}`))
		case "/v1/auth/token/accessors":
			_, _ = w.Write([]byte(`{"data":{"keys":["own","dead"]}}`))
		case "/v1/auth/token/lookup-accessor":
			var asked struct{ Accessor string }
			_ = json.NewDecoder(r.Body).Decode(&asked)
			if asked.Accessor == "dead" {
				w.WriteHeader(http.StatusBadRequest)
				_, _ = w.Write([]byte(`{"errors":["invalid accessor"]}`))
				return
			}
			_, _ = w.Write([]byte(`{"data":{"policies":["root"]}}`))
		}
	}))
	defer server.Close()
	client, err := api.NewClient(&api.Config{Address: server.URL, MaxRetries: 0})
	if err != nil {
		t.Fatal(err)
	}
	tokens, own, err := liveTokens(t.Context(), client)
	if err != nil || own != "own" || len(tokens) != 1 || tokens[0].accessor != "own" {
		t.Errorf("tokens %+v, own %q, error %v", tokens, own, err)
	}
	if _, _, err := liveTokens(t.Context(), vaultAnswering(t, 500, `{"errors":["down"]}`)); err == nil {
		t.Error("a Vault that fails passes for one without tokens")
	}
}

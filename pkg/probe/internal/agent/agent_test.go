package agent

import (
	"encoding/json"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/vaultproof/vaultproof/pkg/probe/internal/fakevault"
	"github.com/vaultproof/vaultproof/pkg/probe/internal/wire"
)

func TestAPI(t *testing.T) {
	var log strings.Builder
	server := httptest.NewServer(New(t.Context(), slog.New(slog.NewJSONHandler(&log, nil))).Handler())
	defer server.Close()
	vault := fakevault.New("vault-0")
	defer vault.Close()
	good, err := json.Marshal(wire.Config{
		Address: vault.URL, CAPEM: vault.CA(), ServerName: fakevault.ServerName, Token: fakevault.Token, Mount: "m", Prefix: "p", Rate: 50,
	})
	if err != nil {
		t.Fatal(err)
	}
	for _, step := range []struct {
		method, path, body string
		status             int
		text               string
	}{
		{"GET", wire.PathHealth, "", 204, ""},
		{"GET", wire.PathClock, "", 200, `"now"`},
		{"PUT", wire.PathPods, "{}", 409, "has not started"},
		{"POST", wire.PathStop, "", 409, "has not started"},
		{"POST", wire.PathFinal, "", 409, "has not started"},
		{"POST", wire.PathStart, `{"token":"` + fakevault.Token + `"`, 400, "not the JSON"},
		{"POST", wire.PathStart, `{"tokn":"` + fakevault.Token + `"}`, 400, "not the JSON"},
		{"POST", wire.PathStart, string(good) + "{}", 400, "not the JSON"},
		{"POST", wire.PathStart, `{"address":"http://vault"}`, 400, "no https URL"},
		{"POST", wire.PathStart, `{"address":"https://vault","caPem":"bm9uZQ=="}`, 400, "no PEM"},
		{"POST", wire.PathStart, string(good), 204, ""},
		{"POST", wire.PathStart, string(good), 409, "already"},
		{"PUT", wire.PathPods, `{"vault-0":"127.0.0.1"}`, 204, ""},
		{"GET", wire.PathRecords + "?after=0", "", 200, `"n":1`},
		{"GET", wire.PathSamples + "?after=x", "", 400, "no number"},
		{"GET", "/metrics", "", 404, ""},
		{"GET", wire.PathStart, "", 405, ""},
		{"POST", wire.PathStop, "", 204, ""},
		{"POST", wire.PathFinal, "", 200, "{"},
		{"POST", wire.PathStop, "", 204, ""},
	} {
		req, err := http.NewRequestWithContext(t.Context(), step.method, server.URL+step.path, strings.NewReader(step.body))
		if err != nil {
			t.Fatal(err)
		}
		resp, err := http.DefaultClient.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		body, err := io.ReadAll(resp.Body)
		if err != nil {
			t.Fatal(err)
		}
		_ = resp.Body.Close()
		if resp.StatusCode != step.status || !strings.Contains(string(body), step.text) {
			t.Errorf("%s %s answered %d %s, want %d with %q", step.method, step.path, resp.StatusCode, body, step.status, step.text)
		}
		if strings.Contains(string(body), fakevault.Token) {
			t.Errorf("%s %s gives the token away", step.method, step.path)
		}
	}
	if strings.Contains(log.String(), fakevault.Token) {
		t.Error("the token is in the log")
	}
}

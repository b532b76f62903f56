package alert

import (
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
)

// exported is what a sidecar and a real Vault export, cut short.
const exported = `# TYPE vaultproof_sealed gauge
vaultproof_sealed 0
# TYPE vaultproof_label_errors_total counter
vaultproof_label_errors_total{kind="forbidden"} 2
vaultproof_label_errors_total{kind="conflict"} 1
# TYPE vault_core_unsealed gauge
vault_core_unsealed{cluster=""} 0
vault_core_unsealed{cluster="vault-cluster-1"} 1
# TYPE vault_audit_log_request summary
vault_audit_log_request{quantile="0.5"} NaN
vault_audit_log_request_sum 1.5
vault_audit_log_request_count 3
# TYPE vault_audit_sink_failure counter
vault_audit_sink_failure 12
`

func TestScrape(t *testing.T) {
	answer := func(w http.ResponseWriter) { _, _ = io.WriteString(w, exported) }
	asked := ""
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		asked = r.Header.Get("X-Vault-Token")
		answer(w)
	}))
	defer server.Close()
	e := &endpoint{client: server.Client(), url: server.URL + "/metrics", token: func() string { return "t" }}
	found, err := e.scrape(t.Context(), []string{"vaultproof_sealed", "vaultproof_label_errors_total", "vault_core_unsealed", "vault_audit_log_request", "vault_audit_sink_failure", "absent"})
	want := map[string]float64{
		"vaultproof_sealed": 0, `vaultproof_label_errors_total{kind="forbidden"}`: 2, `vaultproof_label_errors_total{kind="conflict"}`: 1,
		`vault_core_unsealed{cluster=""}`: 0, `vault_core_unsealed{cluster="vault-cluster-1"}`: 1, "vault_audit_sink_failure": 12,
	}
	// An empty label is none in Prometheus.
	delete(want, `vault_core_unsealed{cluster=""}`)
	want["vault_core_unsealed"] = 0
	if err != nil || !maps.Equal(found, want) || asked != "t" {
		t.Errorf("found %v, error %v, token %q", found, err, asked)
	}
	for name, c := range map[string]struct {
		answer func(http.ResponseWriter)
		want   string
	}{
		"refused": {func(w http.ResponseWriter) { w.WriteHeader(http.StatusForbidden) }, "the answer is 403"},
		"elsewhere": {func(w http.ResponseWriter) {
			w.Header().Set("Location", "/x")
			w.WriteHeader(http.StatusTemporaryRedirect)
		}, "the answer is 307"},
		"no metrics": {func(w http.ResponseWriter) { _, _ = io.WriteString(w, "<html>") }, "parsing metrics"},
		"nothing":    {func(http.ResponseWriter) {}, "holds no metric"},
	} {
		answer = c.answer
		e.client.CheckRedirect = noRedirect
		if _, err := e.scrape(t.Context(), nil); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: error %v, want %q", name, err, c.want)
		}
	}
	server.Close()
	if _, err := e.scrape(t.Context(), nil); err == nil {
		t.Error("a server that is gone went unnoticed")
	}
}

// told gives one answer after the other.
type told struct {
	answers []map[string]float64 // nil is a failure
	asked   int
}

func (f *told) scrape(context.Context, []string) (map[string]float64, error) {
	a := f.answers[f.asked]
	f.asked++
	if a == nil {
		return nil, errors.New("refused")
	}
	return a, nil
}

func (*told) close() {}

func TestScraperFollowsTheActivePod(t *testing.T) {
	active, standby := map[string]float64{"vaultproof_active": 1}, map[string]float64{"vaultproof_active": 0}
	metrics := map[string]float64{"vault_core_active": 1}
	var got []string
	s := &scraper{pod: "vault-0", write: func(s Scrape) { got = append(got, fmt.Sprintf("%s up=%t gone=%t", s.Job, s.Up, s.Gone)) },
		sidecar: &told{answers: []map[string]float64{standby, active, nil, active, standby, standby}},
		vault:   &told{answers: []map[string]float64{metrics, metrics, nil}}}
	for range 6 {
		s.look(t.Context())
	}
	want := []string{
		"vault-sidecar up=true gone=false",
		"vault-sidecar up=true gone=false", "vault up=true gone=false",
		"vault-sidecar up=false gone=false", "vault up=true gone=false", // it may be active still
		"vault-sidecar up=true gone=false", "vault up=false gone=false",
		"vault-sidecar up=true gone=false", "vault up=false gone=true",
		"vault-sidecar up=true gone=false",
	}
	if strings.Join(got, "\n") != strings.Join(want, "\n") {
		t.Errorf("scraped\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
}

func TestScraperWithoutAToken(t *testing.T) {
	var got []Scrape
	s := &scraper{pod: "vault-0", noToken: "no custody", write: func(s Scrape) { got = append(got, s) },
		sidecar: &told{answers: []map[string]float64{{"vaultproof_active": 1}}}, vault: &told{}}
	s.look(t.Context())
	if len(got) != 2 || got[1].Up || got[1].Error != "no custody" {
		t.Errorf("scraped %+v", got)
	}
	ended, cancel := context.WithCancel(t.Context())
	cancel()
	s.sidecar = &told{answers: []map[string]float64{nil}}
	if s.look(ended); len(got) != 2 {
		t.Error("a scrape that ended with the recording was written down as a failed one")
	}
}

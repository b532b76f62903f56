package registrar

import (
	"encoding/json"
	"log/slog"
	"maps"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
)

const ownPod = "/api/v1/namespaces/vault/pods/vault-0"

func newServer() *Server {
	return &Server{Namespace: "vault", Pod: "vault-0", Memory: NewMemory(), Log: slog.New(slog.DiscardHandler)}
}

// ask asks as Vault does.
func ask(s *Server, method, path, body string, change func(*http.Request)) *httptest.ResponseRecorder {
	r := httptest.NewRequest(method, path, strings.NewReader(body))
	r.RemoteAddr = "127.0.0.1:40000"
	r.Header.Set("Content-Type", "application/json-patch+json")
	if change != nil {
		change(r)
	}
	w := httptest.NewRecorder()
	s.ServeHTTP(w, r)
	return w
}

// What Vault sends first, and what it sends if it finds no labels at all.
func TestVaultsPatches(t *testing.T) {
	want := map[string]string{Active: "false", Sealed: "true", Initialised: "false", PerfStandby: "false", Version: "1.21.1"}
	for name, body := range map[string]string{
		"one by one": `[{"op":"replace","path":"/metadata/labels/vault-version","value":"1.21.1"},
			{"op":"replace","path":"/metadata/labels/vault-active","value":"false"},{"op":"replace","path":"/metadata/labels/vault-sealed","value":"true"},
			{"op":"replace","path":"/metadata/labels/vault-perf-standby","value":"false"},{"op":"replace","path":"/metadata/labels/vault-initialized","value":"false"}]`,
		"all at once": `[{"op":"add","path":"/metadata/labels","value":{"vault-version":"1.21.1","vault-active":"false","vault-sealed":"true","vault-perf-standby":"false","vault-initialized":"false"}}]`,
	} {
		s := newServer()
		if w := ask(s, http.MethodPatch, ownPod, body, nil); w.Code != http.StatusOK {
			t.Errorf("%s: %d %s", name, w.Code, w.Body)
		}
		if got := s.Memory.Said(); !maps.Equal(got.Labels, want) || got.Seq != 1 {
			t.Errorf("%s: %+v; want %v, said once", name, got, want)
		}
		var pod struct {
			Kind     string
			Metadata struct {
				Name, Namespace string
				Labels          map[string]string
			}
		}
		w := ask(s, http.MethodGet, ownPod, "", nil)
		if err := json.Unmarshal(w.Body.Bytes(), &pod); err != nil || pod.Kind != "Pod" || pod.Metadata.Name != "vault-0" || pod.Metadata.Namespace != "vault" ||
			!maps.Equal(pod.Metadata.Labels, want) {
			t.Errorf("%s: read back %s, error %v", name, w.Body, err)
		}
	}
}

// Before anything is known there are labels all the same, so that Vault sets
// them one by one.
func TestLabelsAreNeverAbsent(t *testing.T) {
	if w := ask(newServer(), http.MethodGet, ownPod, "", nil); !strings.Contains(w.Body.String(), `"labels":{}`) {
		t.Errorf("%s", w.Body)
	}
}

func TestRefused(t *testing.T) {
	set := func(path, value string) string {
		return `[{"op":"replace","path":"/metadata/labels/vault-sealed","value":"true"},{"op":"replace","path":"` + path + `","value":` + value + `}]`
	}
	for name, tt := range map[string]struct {
		method, path, body string
		change             func(*http.Request)
		code               int
		reason             string
	}{
		"another pod":         {http.MethodGet, "/api/v1/namespaces/vault/pods/vault-1", "", nil, 403, "Forbidden"},
		"another namespace":   {http.MethodGet, "/api/v1/namespaces/other/pods/vault-0", "", nil, 403, "Forbidden"},
		"all pods":            {http.MethodGet, "/api/v1/namespaces/vault/pods", "", nil, 404, "NotFound"},
		"a secret":            {http.MethodGet, "/api/v1/namespaces/vault/secrets/vault-0", "", nil, 404, "NotFound"},
		"more of the pod":     {http.MethodGet, ownPod + "/log", "", nil, 404, "NotFound"},
		"another version":     {http.MethodGet, "/api/v2/namespaces/vault/pods/vault-0", "", nil, 404, "NotFound"},
		"delete":              {http.MethodDelete, ownPod, "", nil, 403, "Forbidden"},
		"from outside":        {http.MethodGet, ownPod, "", func(r *http.Request) { r.RemoteAddr = "10.0.0.9:1234" }, 403, "Forbidden"},
		"another kind":        {http.MethodPatch, ownPod, "{}", func(r *http.Request) { r.Header.Set("Content-Type", "application/merge-patch+json") }, 415, "UnsupportedMediaType"},
		"no JSON":             {http.MethodPatch, ownPod, "label me", nil, 400, "BadRequest"},
		"too long":            {http.MethodPatch, ownPod, `["` + strings.Repeat("a", bodyLimit) + `"]`, nil, 400, "BadRequest"},
		"another label":       {http.MethodPatch, ownPod, set("/metadata/labels/app", `"x"`), nil, 403, "Forbidden"},
		"another among all":   {http.MethodPatch, ownPod, set("/metadata/labels", `{"vault-active":"true","app":"x"}`), nil, 403, "Forbidden"},
		"an annotation":       {http.MethodPatch, ownPod, set("/metadata/annotations/vault-active", `"true"`), nil, 403, "Forbidden"},
		"the spec":            {http.MethodPatch, ownPod, set("/spec/nodeName", `"n"`), nil, 403, "Forbidden"},
		"removal":             {http.MethodPatch, ownPod, `[{"op":"remove","path":"/metadata/labels/vault-active"}]`, nil, 403, "Forbidden"},
		"neither true nor no": {http.MethodPatch, ownPod, set("/metadata/labels/vault-active", `"maybe"`), nil, 422, "Invalid"},
		"not a word":          {http.MethodPatch, ownPod, set("/metadata/labels/vault-active", `true`), nil, 422, "Invalid"},
		"a bad version":       {http.MethodPatch, ownPod, set("/metadata/labels/vault-version", `"1.21+ent"`), nil, 422, "Invalid"},
	} {
		t.Run(name, func(t *testing.T) {
			s := newServer()
			w := ask(s, tt.method, tt.path, tt.body, tt.change)
			var st struct {
				Kind, Status, Reason string
				Code                 int
			}
			if err := json.Unmarshal(w.Body.Bytes(), &st); err != nil || w.Code != tt.code || st.Kind != "Status" || st.Status != "Failure" || st.Reason != tt.reason || st.Code != tt.code {
				t.Errorf("%d %s, error %v; want a Status of %d %s", w.Code, w.Body, err, tt.code, tt.reason)
			}
			if got := s.Memory.Said(); got.Seq != 0 || len(got.Labels) != 0 {
				t.Errorf("a part of it was taken: %+v", got)
			}
		})
	}
}

func TestCheckAddress(t *testing.T) {
	for _, good := range []string{"127.0.0.1:8211", "[::1]:8211"} {
		if err := CheckAddress(good); err != nil {
			t.Errorf("%s: %v", good, err)
		}
	}
	for _, bad := range []string{":8211", "0.0.0.0:8211", "10.0.0.1:8211", "vault-0:8211", "8211", "[::]:8211"} {
		if err := CheckAddress(bad); err == nil || !strings.Contains(err.Error(), "-registrar-listen") {
			t.Errorf("%s: error %v; want one that names the flag", bad, err)
		}
	}
}

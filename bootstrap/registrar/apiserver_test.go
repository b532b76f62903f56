package registrar_test

import (
	"encoding/json"
	"encoding/pem"
	"maps"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/vaultproof/vaultproof/bootstrap/kube"
	"github.com/vaultproof/vaultproof/bootstrap/registrar"
)

// written is one value of vault-active in the API server.
type written struct {
	value string
	at    time.Time
}

// apiServer knows one pod. While it is away, it takes requests and never answers.
type apiServer struct {
	t   *testing.T
	dir string // as Kubernetes mounts it
	url string

	mu         sync.Mutex
	gone       bool
	unanswered int
	version    int
	pod        map[string]string // its labels
	active     []written
}

func newAPIServer(t *testing.T, dir string) *apiServer {
	t.Helper()
	a := &apiServer{t: t, dir: dir, pod: map[string]string{}}
	srv := httptest.NewTLSServer(a)
	t.Cleanup(func() { srv.CloseClientConnections(); srv.Close() })
	a.url = srv.Listener.Addr().String()
	must(t, os.MkdirAll(dir, 0o700))
	for name, content := range map[string][]byte{"token": []byte("the-sidecars"), "namespace": []byte("vault"),
		"ca.crt": pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: srv.Certificate().Raw})} {
		must(t, os.WriteFile(filepath.Join(dir, name), content, 0o600))
	}
	return a
}

func (a *apiServer) config() kube.Config {
	host, port, _ := net.SplitHostPort(a.url)
	return kube.Config{TokenFile: filepath.Join(a.dir, "token"), Host: host, Port: port}
}

// direct has Vault speak to the API server itself.
func (r *rig) direct() {
	r.T.Helper()
	_, port, err := net.SplitHostPort(r.api.url)
	must(r.T, err)
	r.registrarPort, err = strconv.Atoi(port)
	must(r.T, err)
	ca, err := os.ReadFile(filepath.Join(r.api.dir, "ca.crt"))
	must(r.T, err)
	r.File("ca.crt", ca)
}

// asked counts the requests that it took without answering.
func (a *apiServer) asked() int {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.unanswered
}

func (a *apiServer) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	a.mu.Lock()
	gone := a.gone
	if gone {
		a.unanswered++
	}
	a.mu.Unlock()
	if gone {
		<-r.Context().Done()
		return
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	code := http.StatusOK
	switch {
	case r.Header.Get("Authorization") != "Bearer the-sidecars" || r.URL.Path != "/api/v1/namespaces/vault/pods/"+podName:
		code = http.StatusForbidden
	case r.Method == http.MethodPatch:
		code = a.patch(r)
	}
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(code)
	meta := map[string]any{"name": podName, "namespace": "vault", "uid": "u", "resourceVersion": strconv.Itoa(a.version), "labels": a.pod}
	_ = json.NewEncoder(w).Encode(map[string]any{"kind": "Pod", "apiVersion": "v1", "metadata": meta}) // the caller may be gone
}

// patch tests the version and sets labels, all that is asked of it.
func (a *apiServer) patch(r *http.Request) int {
	var ops []struct{ Op, Path, Value string }
	if err := json.NewDecoder(r.Body).Decode(&ops); err != nil {
		return http.StatusBadRequest
	}
	set := map[string]string{}
	for _, op := range ops {
		key, label := strings.CutPrefix(op.Path, "/metadata/labels/")
		switch {
		case op.Op == "test" && op.Value != strconv.Itoa(a.version):
			return http.StatusUnprocessableEntity
		case label:
			set[key] = op.Value
		}
	}
	if value, ok := set[registrar.Active]; ok {
		a.active = append(a.active, written{value, time.Now()})
	}
	maps.Copy(a.pod, set)
	a.version++
	return http.StatusOK
}

func (a *apiServer) away(gone bool) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.gone = gone
}

func (a *apiServer) set(labels map[string]string) {
	a.mu.Lock()
	defer a.mu.Unlock()
	maps.Copy(a.pod, labels)
	a.version++
}

func (a *apiServer) labels() map[string]string {
	a.mu.Lock()
	defer a.mu.Unlock()
	return maps.Clone(a.pod)
}

func (a *apiServer) has(want map[string]string) bool {
	got := a.labels()
	for key, value := range want {
		if got[key] != value {
			return false
		}
	}
	return true
}

func (a *apiServer) history() []written {
	a.mu.Lock()
	defer a.mu.Unlock()
	return append([]written(nil), a.active...)
}

package main

import (
	"encoding/json"
	"encoding/pem"
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"path"
	"path/filepath"
	"sync"
	"testing"

	"github.com/vaultproof/vaultproof/bootstrap/machine"
)

// kubeAPI is an API server that knows the pods of a rig, and nothing more.
type kubeAPI struct {
	token string // file, with the two others beside it

	mu      sync.Mutex
	holds   map[string]string // by pod
	down    bool              // it answers nothing but 503
	deletes func(pod string)  // what the kubelet does then; runs by itself
}

// newKubeAPI serves from the environment that the kubelet would make.
func newKubeAPI(t *testing.T) *kubeAPI {
	t.Helper()
	a := &kubeAPI{holds: map[string]string{}}
	srv := httptest.NewTLSServer(a)
	t.Cleanup(srv.Close)
	dir := t.TempDir()
	a.token = filepath.Join(dir, "token")
	for name, content := range map[string][]byte{"token": []byte("a-token"), "namespace": []byte("vault"),
		"ca.crt": pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: srv.Certificate().Raw})} {
		must(t, os.WriteFile(filepath.Join(dir, name), content, 0o600))
	}
	u, err := url.Parse(srv.URL)
	must(t, err)
	host, port, err := net.SplitHostPort(u.Host)
	must(t, err)
	t.Setenv("KUBERNETES_SERVICE_HOST", host)
	t.Setenv("KUBERNETES_SERVICE_PORT", port)
	return a
}

func (a *kubeAPI) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	a.mu.Lock()
	defer a.mu.Unlock()
	pod := path.Base(r.URL.Path)
	switch {
	case a.down:
		w.WriteHeader(http.StatusServiceUnavailable)
		return
	case r.Header.Get("Authorization") != "Bearer a-token" || r.URL.Path != "/api/v1/namespaces/vault/pods/"+pod:
		w.WriteHeader(http.StatusForbidden)
		return
	case r.Method == http.MethodDelete:
		if a.deletes != nil {
			go a.deletes(pod)
			a.deletes = nil
		}
	}
	meta := map[string]any{"name": pod, "namespace": "vault", "uid": "uid-" + pod, "resourceVersion": "1"}
	if reason, ok := a.holds[pod]; ok {
		meta["annotations"] = map[string]string{machine.HoldAnnotation: reason}
	}
	w.Header().Set("Content-Type", "application/json")
	if err := json.NewEncoder(w).Encode(map[string]any{"kind": "Pod", "apiVersion": "v1", "metadata": meta}); err != nil {
		panic(fmt.Sprintf("answering the sidecar: %v", err))
	}
}

// hold sets the annotation on a pod, or ends it.
func (a *kubeAPI) hold(pod, reason string, on bool) {
	a.mu.Lock()
	defer a.mu.Unlock()
	delete(a.holds, pod)
	if on {
		a.holds[pod] = reason
	}
}

func (a *kubeAPI) fails(on bool) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.down = on
}

package main

import (
	"bytes"
	"crypto/tls"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/vaultproof/vaultproof/bootstrap/internal/realvault"
	"github.com/vaultproof/vaultproof/bootstrap/kube"
	"github.com/vaultproof/vaultproof/bootstrap/registrar"
)

// TestRegistrar: what Vault tells the sidecar's registrar ends up in the API
// server, with or without the fence.
func TestRegistrar(t *testing.T) {
	for _, fence := range []string{"-fence=true", "-fence=false"} {
		t.Run(fence, func(t *testing.T) {
			patches := make(chan string, 10)
			dir := patched(t, patches)
			r := newRig(t, 1)
			p := r.pods[0]
			port := realvault.Port(t)
			p.extra = []string{fence, "-kube-token-file", filepath.Join(dir, "token"), "-registrar-listen", fmt.Sprintf("127.0.0.1:%d", port)}
			p.startSidecar()
			pod := fmt.Sprintf("https://127.0.0.1:%d/api/v1/namespaces/vault/pods/%s", port, p.Name)
			client := &http.Client{Timeout: 3 * time.Second, Transport: &http.Transport{TLSClientConfig: &tls.Config{RootCAs: r.Roots}}}
			if !eventually(settle, func() bool { resp, err := client.Get(pod); return err == nil && resp.Body.Close() == nil }) {
				t.Fatal("the registrar does not answer")
			}
			body := `[{"op":"replace","path":"/metadata/labels/vault-active","value":"false"},{"op":"replace","path":"/metadata/labels/vault-sealed","value":"true"}]`
			req, err := http.NewRequestWithContext(t.Context(), http.MethodPatch, pod, strings.NewReader(body))
			must(t, err)
			req.Header.Set("Content-Type", "application/json-patch+json")
			resp, err := client.Do(req)
			must(t, err)
			defer resp.Body.Close()
			if resp.StatusCode != http.StatusOK {
				t.Fatalf("status %d", resp.StatusCode)
			}
			for _, want := range []string{`"/metadata/labels/vault-active","value":"false"`, `"/metadata/labels/vault-sealed","value":"true"`} {
				select {
				case got := <-patches:
					if !strings.Contains(got, want) {
						t.Errorf("patch %s; want %s", got, want)
					}
				case <-time.After(settle):
					t.Fatalf("no patch with %s", want)
				}
			}
		})
	}
}

// A sidecar that cannot carry what Vault announces must not pretend to.
func TestRegistrarWithoutKubernetes(t *testing.T) {
	t.Setenv("KUBERNETES_SERVICE_HOST", "")
	r := newRig(t, 1)
	p := r.pods[0]
	p.extra = []string{"-registrar-listen", fmt.Sprintf("127.0.0.1:%d", realvault.Port(t))}
	if err := run(t.Context(), p.args(), &p.log); !errors.Is(err, kube.ErrAbsent) || !strings.Contains(err.Error(), "-registrar-listen") {
		t.Errorf("error %v; want one that names the flag", err)
	}
}

// TestLastWords: a Vault that is being stopped with the sidecar is listened to
// until it is sealed; one that is not, is not waited for.
func TestLastWords(t *testing.T) {
	dir := t.TempDir()
	c := config{handoverDone: filepath.Join(dir, "done")}
	s := &registrar.Server{Memory: registrar.NewMemory()}
	s.Memory.Announce(map[string]string{registrar.Sealed: "false"})
	began := time.Now()
	c.lastWords(t.Context(), s)
	if took := time.Since(began); took > time.Second {
		t.Errorf("waited %s for a Vault that stays", took)
	}
	must(t, os.WriteFile(filepath.Join(dir, "stopping"), nil, 0o600))
	heard := make(chan struct{})
	go func() { c.lastWords(t.Context(), s); close(heard) }()
	select {
	case <-heard:
		t.Error("gave up on a Vault that is not sealed yet")
	case <-time.After(100 * time.Millisecond):
	}
	s.Memory.Announce(map[string]string{registrar.Sealed: "true"})
	s.Memory.Carried(2)
	select {
	case <-heard:
	case <-time.After(time.Second):
		t.Error("still waits, though Vault has said its last word")
	}
}

// patched is an API server that knows one pod, sets its labels, and tells which patches
// it got. It returns the folder that Kubernetes would mount.
func patched(t *testing.T, patches chan<- string) string {
	t.Helper()
	labels := map[string]string{}
	version := 1
	srv := httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Method == http.MethodPatch {
			body, err := io.ReadAll(r.Body)
			var ops []struct{ Path, Value string }
			if err == nil {
				err = json.NewDecoder(bytes.NewReader(body)).Decode(&ops)
			}
			if err != nil {
				w.WriteHeader(http.StatusBadRequest)
				return
			}
			for _, op := range ops {
				if key, ok := strings.CutPrefix(op.Path, "/metadata/labels/"); ok {
					labels[key] = op.Value
				}
			}
			version++
			patches <- string(body)
		}
		w.Header().Set("Content-Type", "application/json")
		_ = json.NewEncoder(w).Encode(map[string]any{"metadata": map[string]any{"name": "vault-0", "resourceVersion": fmt.Sprint(version), "labels": labels}})
	}))
	t.Cleanup(srv.Close)
	dir := t.TempDir()
	for name, content := range map[string][]byte{"token": []byte("a-token"), "namespace": []byte("vault"),
		"ca.crt": pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: srv.Certificate().Raw})} {
		must(t, os.WriteFile(filepath.Join(dir, name), content, 0o600))
	}
	u, err := url.Parse(srv.URL)
	must(t, err)
	t.Setenv("KUBERNETES_SERVICE_HOST", u.Hostname())
	t.Setenv("KUBERNETES_SERVICE_PORT", u.Port())
	return dir
}

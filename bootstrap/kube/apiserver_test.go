package kube

import (
	"crypto/tls"
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	jsonpatch "gopkg.in/evanphx/json-patch.v4"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"

	"github.com/vaultproof/vaultproof/pkg/issuer"
)

// apiServer answers for the pods of one namespace as Kubernetes does: its own
// types, its own error objects, and the library that it applies patches with.
type apiServer struct {
	t     *testing.T
	token string
	dir   string // as Kubernetes mounts it
	addr  *url.URL

	mu      sync.Mutex
	pods    map[string]*corev1.Pod
	version int
	calls   []string
	// deny, if set, answers a request instead.
	deny func(w http.ResponseWriter, r *http.Request) bool
	// refuseLabel makes validation fail.
	refuseLabel bool
}

func newAPIServer(t *testing.T, pods ...string) *apiServer {
	t.Helper()
	s := &apiServer{t: t, token: "first", dir: t.TempDir(), pods: map[string]*corev1.Pod{}}
	ca, err := issuer.NewCA("test", time.Hour)
	must(t, err)
	pair, err := ca.Server("kubernetes", []string{"127.0.0.1"}, time.Hour)
	must(t, err)
	cert, err := tls.X509KeyPair(pair.Cert, pair.Key)
	must(t, err)
	srv := httptest.NewUnstartedServer(s)
	srv.TLS = &tls.Config{Certificates: []tls.Certificate{cert}}
	srv.StartTLS()
	t.Cleanup(srv.Close)
	s.addr, err = url.Parse(srv.URL)
	must(t, err)
	s.mount("token", "first\n")
	s.mount("ca.crt", string(ca.PEM()))
	s.mount("namespace", "vault")
	for _, name := range pods {
		s.pods[name] = &corev1.Pod{TypeMeta: metav1.TypeMeta{Kind: "Pod", APIVersion: "v1"},
			ObjectMeta: metav1.ObjectMeta{Name: name, Namespace: "vault", UID: "uid-of-pod", ResourceVersion: s.next(),
				Labels: map[string]string{"vault-active": "false"}, Annotations: map[string]string{"vaultproof.dev/hold": "audit"}}}
	}
	return s
}

func (s *apiServer) mount(name, content string) {
	must(s.t, os.WriteFile(filepath.Join(s.dir, name), []byte(content), 0o600))
}

func (s *apiServer) config() Config {
	return Config{TokenFile: filepath.Join(s.dir, "token"), Host: s.addr.Hostname(), Port: s.addr.Port()}
}

func (s *apiServer) client() *Client {
	s.t.Helper()
	c, err := New(s.config())
	must(s.t, err)
	return c
}

func (s *apiServer) next() string {
	s.version++
	return strconv.Itoa(s.version)
}

// change touches a pod as the kubelet does.
func (s *apiServer) change(name string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.pods[name].ResourceVersion = s.next()
}

func (s *apiServer) label(name, key string) string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.pods[name].Labels[key]
}

var podResource = schema.GroupResource{Resource: "pods"}

func (s *apiServer) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	s.mu.Lock()
	deny := s.deny
	s.calls = append(s.calls, r.Method+" "+r.URL.Path)
	s.mu.Unlock()
	if deny != nil && deny(w, r) {
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	name, ours := strings.CutPrefix(r.URL.Path, "/api/v1/namespaces/vault/pods/")
	pod := s.pods[name]
	switch {
	case r.Header.Get("Authorization") != "Bearer "+s.token:
		fail(w, apierrors.NewUnauthorized("Unauthorized"))
	case !ours || pod == nil:
		fail(w, apierrors.NewNotFound(podResource, name))
	case r.Method == http.MethodGet:
		send(w, http.StatusOK, pod)
	case r.Method == http.MethodPatch:
		s.patch(w, r, name)
	case r.Method == http.MethodDelete:
		s.remove(w, r, name)
	default:
		fail(w, apierrors.NewMethodNotSupported(podResource, r.Method))
	}
}

func (s *apiServer) patch(w http.ResponseWriter, r *http.Request, name string) {
	body, err := io.ReadAll(r.Body)
	if err != nil || r.Header.Get("Content-Type") != "application/json-patch+json" {
		fail(w, apierrors.NewGenericServerResponse(http.StatusUnsupportedMediaType, "patch", podResource, name, "", 0, false))
		return
	}
	patch, err := jsonpatch.DecodePatch(body)
	if err != nil {
		fail(w, apierrors.NewBadRequest(err.Error()))
		return
	}
	old, err := json.Marshal(s.pods[name])
	must(s.t, err)
	patched, err := patch.Apply(old)
	if err != nil {
		// Word for word what the API server's patch handler does.
		fail(w, apierrors.NewGenericServerResponse(http.StatusUnprocessableEntity, "", schema.GroupResource{}, "", err.Error(), 0, false))
		return
	}
	if s.refuseLabel {
		fail(w, apierrors.NewInvalid(schema.GroupKind{Kind: "Pod"}, name, nil))
		return
	}
	var pod corev1.Pod
	must(s.t, json.Unmarshal(patched, &pod))
	if string(patched) != string(old) {
		pod.ResourceVersion = s.next()
	}
	s.pods[name] = &pod
	send(w, http.StatusOK, &pod)
}

func (s *apiServer) remove(w http.ResponseWriter, r *http.Request, name string) {
	var o metav1.DeleteOptions
	if err := json.NewDecoder(r.Body).Decode(&o); err != nil {
		fail(w, apierrors.NewBadRequest(err.Error()))
		return
	}
	pod := s.pods[name]
	if o.Preconditions != nil && o.Preconditions.UID != nil && *o.Preconditions.UID != pod.UID {
		fail(w, apierrors.NewConflict(podResource, name, io.EOF))
		return
	}
	delete(s.pods, name)
	send(w, http.StatusOK, pod)
}

func fail(w http.ResponseWriter, err *apierrors.StatusError) {
	st := err.Status()
	st.Kind, st.APIVersion = "Status", "v1"
	send(w, int(st.Code), &st)
}

func send(w http.ResponseWriter, code int, body any) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(code)
	_ = json.NewEncoder(w).Encode(body) // the caller may be gone
}

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

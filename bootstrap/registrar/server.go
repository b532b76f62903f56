package registrar

import (
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"mime"
	"net"
	"net/http"
	"net/netip"
	"strings"
)

// bodyLimit in bytes; Vault's longest patch has a few hundred.
const bodyLimit = 64 << 10

// Server answers the two calls of Vault's registration.
type Server struct {
	Namespace, Pod string
	Memory         *Memory
	Log            *slog.Logger
}

// CheckAddress refuses an address that could be reached from outside the pod.
func CheckAddress(address string) error {
	host, _, err := net.SplitHostPort(address)
	if err != nil {
		return fmt.Errorf("registrar address %q is not of the form host:port, set -registrar-listen to 127.0.0.1:8211: %w", address, err)
	}
	if ip, err := netip.ParseAddr(host); err != nil || !ip.IsLoopback() {
		return fmt.Errorf("registrar address %q can be reached from outside this pod, or not at all: set -registrar-listen to 127.0.0.1:8211", address)
	}
	return nil
}

// ServeHTTP implements http.Handler. It never waits for anything but the
// caller.
func (s *Server) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	namespace, pod, isPod := podPath(r.URL.Path)
	switch {
	case !local(r.RemoteAddr):
		refuse(w, failure{http.StatusForbidden, "Forbidden", "only the Vault of this pod is served"})
	case !isPod:
		refuse(w, failure{http.StatusNotFound, "NotFound", "the server could not find the requested resource"})
	case namespace != s.Namespace || pod != s.Pod:
		refuse(w, s.forbidden(fmt.Sprintf("pod %q in namespace %q is not the one of this registrar", pod, namespace)))
	case r.Method == http.MethodGet:
		s.answer(w)
	case r.Method == http.MethodPatch:
		s.patch(w, r)
	default:
		refuse(w, s.forbidden("method "+r.Method+" is not served: Vault reads its pod and patches its labels"))
	}
}

// podPath takes /api/v1/namespaces/N/pods/P apart.
func podPath(path string) (namespace, pod string, ok bool) {
	part := strings.Split(path, "/")
	if len(part) != 7 || part[0] != "" || part[1] != "api" || part[2] != "v1" || part[3] != "namespaces" || part[5] != "pods" || part[4] == "" || part[6] == "" {
		return "", "", false
	}
	return part[4], part[6], true
}

func local(remote string) bool {
	a, err := netip.ParseAddrPort(remote)
	return err == nil && a.Addr().Unmap().IsLoopback()
}

// answer shows the pod as Vault wants it to be. Labels are never absent, so that
// Vault sets one by one.
func (s *Server) answer(w http.ResponseWriter) {
	send(w, http.StatusOK, map[string]any{"kind": "Pod", "apiVersion": "v1",
		"metadata": map[string]any{"name": s.Pod, "namespace": s.Namespace, "labels": s.Memory.Said().Labels}})
}

func (s *Server) patch(w http.ResponseWriter, r *http.Request) {
	if kind, _, err := mime.ParseMediaType(r.Header.Get("Content-Type")); err != nil || kind != "application/json-patch+json" {
		refuse(w, failure{http.StatusUnsupportedMediaType, "UnsupportedMediaType", "only a JSON patch is understood"})
		return
	}
	body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, bodyLimit))
	if err != nil {
		refuse(w, failure{http.StatusBadRequest, "BadRequest", "reading the patch: " + err.Error()})
		return
	}
	labels, bad := s.labels(body)
	if bad.code != 0 {
		s.Log.Warn("what Vault's service registration wants is refused", "pod", s.Pod, "status", bad.code, "why", bad.message)
		refuse(w, bad)
		return
	}
	s.Memory.Announce(labels)
	s.Log.Debug("vault announced labels", "pod", s.Pod, "labels", labels)
	s.answer(w)
}

func (s *Server) forbidden(why string) failure {
	return failure{http.StatusForbidden, "Forbidden", fmt.Sprintf("pods %q is forbidden: %s", s.Pod, why)}
}

// failure is an answer other than success.
type failure struct {
	code            int
	reason, message string
}

// refuse answers with a Status object, as the API server does.
func refuse(w http.ResponseWriter, f failure) {
	send(w, f.code, map[string]any{"kind": "Status", "apiVersion": "v1", "metadata": map[string]any{}, "status": "Failure",
		"message": f.message, "reason": f.reason, "code": f.code})
}

func send(w http.ResponseWriter, code int, body any) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(code)
	_ = json.NewEncoder(w).Encode(body) // the caller may be gone
}

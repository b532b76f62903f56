// Package fakevault answers the few requests of the prober as Vault would: kv
// version 2 with check-and-set, transit, tokens, leases, logins, sys/leader and
// sys/seal-status, over TLS. It is
// for tests of scheduling and of how answers are read, which need a server that
// can be told to stall, break and lie.
package fakevault

import (
	"encoding/json"
	"encoding/pem"
	"io"
	"log"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"

	"google.golang.org/grpc/test/bufconn"
)

// Token is the only one that is accepted.
const Token = "test-token"

// Role and JWT are what a login is accepted with.
const (
	Role = "test-role"
	JWT  = "test.service-account.token"
)

// ServerName is what the certificate bears.
const ServerName = "example.com"

// Server is one pod that holds all keys itself.
type Server struct {
	*httptest.Server

	mu        sync.Mutex
	keys      map[string]entry
	tokens    map[string]bool // children of Token that live
	leases    map[string]bool
	hostname  string
	sealed    bool
	active    bool
	leader    string // address of the active
	cluster   string // its id
	index     uint64 // that raft has applied
	term      uint64
	intercept http.HandlerFunc
	resume    chan struct{} // closed unless the server is stalled
	requests  int

	memory *bufconn.Listener // of a server in memory
	refuse error             // what Dial says
	dials  int
}

type entry struct {
	version int
	value   string
}

// New starts an unsealed, active server called hostname.
func New(hostname string) *Server {
	s := newServer(hostname)
	s.Server = httptest.NewUnstartedServer(http.HandlerFunc(s.serve))
	s.Config.ErrorLog = quiet()
	s.StartTLS()
	return s
}

func newServer(hostname string) *Server {
	s := &Server{keys: map[string]entry{}, tokens: map[string]bool{}, leases: map[string]bool{}, hostname: hostname, active: true, resume: make(chan struct{})}
	close(s.resume)
	return s
}

// quiet is a log for nobody: that connections break is what many tests are about.
func quiet() *log.Logger { return log.New(io.Discard, "", 0) }

// CA is the certificate to verify the server with.
func (s *Server) CA() []byte {
	return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: s.Certificate().Raw})
}

// Become sets what sys/leader and sys/seal-status say.
func (s *Server) Become(active, sealed bool, leader string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.active, s.sealed, s.leader = active, sealed, leader
}

// Raft sets what the pod says of its cluster, of the index that it has applied, and
// of the term.
func (s *Server) Raft(cluster string, index, term uint64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.cluster, s.index, s.term = cluster, index, term
}

// Rename sets X-Vault-Hostname.
func (s *Server) Rename(hostname string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.hostname = hostname
}

// Intercept lets f answer instead of the server; nil ends that. f may return
// without an answer, and the server answers then.
func (s *Server) Intercept(f http.HandlerFunc) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.intercept = f
}

// Stall makes requests wait until the function it returns is called.
func (s *Server) Stall() (resume func()) {
	s.mu.Lock()
	defer s.mu.Unlock()
	gate := make(chan struct{})
	s.resume = gate
	return sync.OnceFunc(func() { close(gate) })
}

// Lose forgets the last write to every key, as a cluster does that acknowledged
// it too soon.
func (s *Server) Lose() {
	s.mu.Lock()
	defer s.mu.Unlock()
	for name, e := range s.keys {
		e.version--
		e.value = "lost"
		s.keys[name] = e
	}
}

// Requests counts the requests that came.
func (s *Server) Requests() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.requests
}

func (s *Server) serve(w http.ResponseWriter, r *http.Request) {
	s.mu.Lock()
	s.requests++
	gate, intercept := s.resume, s.intercept
	s.mu.Unlock()
	select {
	case <-gate:
	case <-r.Context().Done():
		return
	}
	rec := &recorder{ResponseWriter: w}
	if intercept != nil {
		intercept(rec, r)
	}
	if rec.answered {
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	w.Header().Set("X-Vault-Hostname", s.hostname)
	switch {
	case r.URL.Path == "/v1/sys/seal-status":
		answer(w, http.StatusOK, map[string]any{"sealed": s.sealed, "initialized": true, "cluster_id": s.cluster})
	case s.sealed:
		fail(w, http.StatusServiceUnavailable, "Vault is sealed")
	case r.URL.Path == "/v1/sys/leader":
		answer(w, http.StatusOK, map[string]any{"is_self": s.active, "leader_address": s.leader, "ha_enabled": true, "raft_applied_index": s.index})
	case strings.HasPrefix(r.URL.Path, "/v1/auth/token/"):
		s.token(w, r)
	case strings.HasSuffix(r.URL.Path, "/login"):
		s.login(w, r)
	case r.Header.Get("X-Vault-Token") != Token:
		fail(w, http.StatusForbidden, "permission denied")
	case r.URL.Path == "/v1/sys/storage/raft/autopilot/state":
		answer(w, http.StatusOK, map[string]any{"data": map[string]any{
			"leader": "node-0", "servers": map[string]any{"node-0": map[string]any{"last_term": s.term}},
		}})
	case strings.HasPrefix(r.URL.Path, "/v1/sys/leases/"), strings.Contains(r.URL.Path, "/creds/"):
		s.lease(w, r)
	case strings.Contains(r.URL.Path, "/encrypt/"), strings.Contains(r.URL.Path, "/decrypt/"):
		transit(w, r)
	case r.Method == "LIST":
		s.list(w, r)
	default:
		s.kv(w, r)
	}
}

func (s *Server) kv(w http.ResponseWriter, r *http.Request) {
	_, name, found := strings.Cut(r.URL.Path, "/data/")
	if !found {
		fail(w, http.StatusNotFound, "no handler for route")
		return
	}
	now, exists := s.keys[name]
	if r.Method == http.MethodGet {
		if !exists {
			fail(w, http.StatusNotFound)
			return
		}
		answer(w, http.StatusOK, map[string]any{"data": map[string]any{
			"data": map[string]string{"value": now.value}, "metadata": map[string]int{"version": now.version},
		}})
		return
	}
	var in struct {
		Options struct {
			CAS int `json:"cas"`
		} `json:"options"`
		Data map[string]string `json:"data"`
	}
	if err := json.NewDecoder(r.Body).Decode(&in); err != nil {
		fail(w, http.StatusBadRequest, "error parsing JSON")
		return
	}
	if in.Options.CAS != now.version {
		fail(w, http.StatusBadRequest, "check-and-set parameter did not match the current version")
		return
	}
	s.keys[name] = entry{now.version + 1, in.Data["value"]}
	answer(w, http.StatusOK, map[string]any{"data": map[string]int{"version": now.version + 1}})
}

func answer(w http.ResponseWriter, status int, body any) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	_ = json.NewEncoder(w).Encode(body) // the client may have gone
}

// fail answers as Vault does when something is wrong.
func fail(w http.ResponseWriter, status int, errors ...string) {
	answer(w, status, map[string]any{"errors": append([]string{}, errors...)})
}

// recorder notes whether an interceptor answered.
type recorder struct {
	http.ResponseWriter
	answered bool
}

func (r *recorder) WriteHeader(status int) {
	r.answered = true
	r.ResponseWriter.WriteHeader(status)
}

func (r *recorder) Write(b []byte) (int, error) {
	r.answered = true
	return r.ResponseWriter.Write(b)
}

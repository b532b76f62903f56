package fakevault

import (
	"encoding/base64"
	"encoding/json"
	"fmt"
	"net/http"
	"path"
	"slices"
	"strings"
)

// life is how long tokens and leases last, in seconds. They never expire by
// themselves.
const life = 1800

// Forget ends every token and lease, as a cluster does that gave them too soon.
func (s *Server) Forget() {
	s.mu.Lock()
	defer s.mu.Unlock()
	clear(s.tokens)
	clear(s.leases)
}

// Revive brings back what was revoked.
func (s *Server) Revive() {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, all := range []map[string]bool{s.tokens, s.leases} {
		for id := range all {
			all[id] = true
		}
	}
}

// Living counts the tokens and the leases.
func (s *Server) Living() (tokens, leases int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	count := func(all map[string]bool) (n int) {
		for _, lives := range all {
			if lives {
				n++
			}
		}
		return n
	}
	return count(s.tokens), count(s.leases)
}

// token makes children of Token, and lets each look after itself.
func (s *Server) token(w http.ResponseWriter, r *http.Request) {
	id, action := r.Header.Get("X-Vault-Token"), path.Base(r.URL.Path)
	if action == "create" {
		if id != Token {
			fail(w, http.StatusForbidden, "permission denied")
			return
		}
		id = fmt.Sprintf("hvs.child%d", len(s.tokens)+1)
		s.tokens[id] = true
	}
	switch {
	case !s.tokens[id]:
		fail(w, http.StatusForbidden, "2 errors occurred:\n\t* permission denied\n\t* invalid token\n\n")
	case action == "revoke-self":
		s.tokens[id] = false
		w.WriteHeader(http.StatusNoContent)
	case action == "lookup-self":
		answer(w, http.StatusOK, map[string]any{"data": map[string]any{"id": id, "ttl": life}})
	default:
		answer(w, http.StatusOK, map[string]any{"auth": map[string]any{"client_token": id, "lease_duration": life}})
	}
}

// login gives a child of Token to who shows JWT for Role, and quotes it to who asks for
// another role, as an error might.
func (s *Server) login(w http.ResponseWriter, r *http.Request) {
	var in struct {
		Role string `json:"role"`
		JWT  string `json:"jwt"`
	}
	if err := json.NewDecoder(r.Body).Decode(&in); err != nil {
		fail(w, http.StatusBadRequest, "error parsing JSON")
		return
	}
	_, bears := r.Header["X-Vault-Token"]
	switch {
	case bears:
		fail(w, http.StatusBadRequest, "who logs in bears a token already")
	case in.Role != Role:
		fail(w, http.StatusBadRequest, fmt.Sprintf("invalid role name %q for %s", in.Role, in.JWT))
	case in.JWT != JWT:
		fail(w, http.StatusForbidden, "permission denied")
	default:
		id := fmt.Sprintf("hvs.child%d", len(s.tokens)+1)
		s.tokens[id] = true
		answer(w, http.StatusOK, map[string]any{"auth": map[string]any{"client_token": id, "lease_duration": life}})
	}
}

func (s *Server) lease(w http.ResponseWriter, r *http.Request) {
	var in struct {
		ID   string `json:"lease_id"`
		Sync bool   `json:"sync"`
	}
	if err := json.NewDecoder(r.Body).Decode(&in); err != nil {
		fail(w, http.StatusBadRequest, "error parsing JSON")
		return
	}
	switch path.Base(r.URL.Path) {
	case "lookup":
		if !s.leases[in.ID] {
			fail(w, http.StatusBadRequest, "invalid lease")
			return
		}
		answer(w, http.StatusOK, map[string]any{"data": map[string]any{"id": in.ID, "ttl": life}})
	case "revoke":
		if _, known := s.leases[in.ID]; known && in.Sync {
			s.leases[in.ID] = false
		}
		w.WriteHeader(http.StatusNoContent)
	default:
		id := fmt.Sprintf("%s/%d", strings.TrimPrefix(r.URL.Path, "/v1/"), len(s.leases)+1)
		s.leases[id] = true
		answer(w, http.StatusOK, map[string]any{"lease_id": id, "lease_duration": life, "data": map[string]any{"key": "otp"}})
	}
}

// transit hides a plaintext from nobody.
func transit(w http.ResponseWriter, r *http.Request) {
	var in struct {
		Plaintext  []byte `json:"plaintext"`
		Ciphertext string `json:"ciphertext"`
	}
	if err := json.NewDecoder(r.Body).Decode(&in); err != nil {
		fail(w, http.StatusBadRequest, "error parsing JSON")
		return
	}
	data := map[string]any{"ciphertext": "vault:v1:" + base64.StdEncoding.EncodeToString(in.Plaintext)}
	if in.Ciphertext != "" {
		plain, found := strings.CutPrefix(in.Ciphertext, "vault:v1:")
		if !found {
			fail(w, http.StatusBadRequest, "invalid ciphertext: no prefix")
			return
		}
		data = map[string]any{"plaintext": plain}
	}
	answer(w, http.StatusOK, map[string]any{"data": data})
}

// list names what is directly in a folder of keys.
func (s *Server) list(w http.ResponseWriter, r *http.Request) {
	_, folder, _ := strings.Cut(r.URL.Path, "/metadata/")
	var names []string
	for key := range s.keys {
		if name, inside := strings.CutPrefix(key, folder+"/"); inside && !strings.Contains(name, "/") {
			names = append(names, name)
		}
	}
	if len(names) == 0 {
		fail(w, http.StatusNotFound)
		return
	}
	slices.Sort(names)
	answer(w, http.StatusOK, map[string]any{"data": map[string]any{"keys": names}})
}

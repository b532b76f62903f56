package ceremony

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/hashicorp/vault/api"
	"github.com/vaultproof/vaultproof/pkg/custody"
)

const (
	otp       = "abcdefghijklmnopqrstuvwxyz01"
	rootToken = "hvs.0123456789abcdefghijklmn"
)

// fake is a Vault with a threshold of two, as far as a ceremony sees it.
type fake struct {
	needs    string // the token that it asks for, as from 2.0 on; empty for none
	otp      string
	policies []string // of the token it makes
	foreign  bool     // somebody else's attempt is in progress
	sneaks   bool     // … and begins between our look and our beginning
	refuses  bool     // the shares

	nonce     string
	shares    []string
	cancelled int
}

func (f *fake) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	token := r.Header.Get("X-Vault-Token")
	if r.URL.Path == "/v1/auth/token/lookup-self" {
		if token != rootToken {
			http.Error(w, `{"errors":["permission denied"]}`, http.StatusForbidden)
			return
		}
		_ = json.NewEncoder(w).Encode(map[string]any{"data": map[string]any{"policies": f.policies}})
		return
	}
	if f.needs != "" && token != f.needs {
		http.Error(w, `{"errors":["permission denied"]}`, http.StatusForbidden)
		return
	}
	status := map[string]any{"started": f.nonce != "" || f.foreign, "nonce": f.nonce, "progress": len(f.shares), "required": 2}
	switch r.Method + " " + r.URL.Path {
	case "GET " + attemptPath:
	case "DELETE " + attemptPath:
		f.cancelled++
		f.nonce = ""
		return
	case "PUT " + attemptPath:
		if f.sneaks {
			f.foreign = true
			http.Error(w, `{"errors":["root generation already in progress"]}`, http.StatusBadRequest)
			return
		}
		f.nonce = "ours"
		status["nonce"], status["otp"], status["started"] = f.nonce, f.otp, true
	case "PUT " + updatePath:
		var body struct{ Key, Nonce string }
		_ = json.NewDecoder(r.Body).Decode(&body)
		f.shares = append(f.shares, body.Key)
		if body.Nonce != "ours" || f.refuses && len(f.shares) == 2 {
			http.Error(w, `{"errors":["root generation aborted: invalid key"]}`, http.StatusBadRequest)
			return
		}
		status["progress"] = len(f.shares)
		if len(f.shares) == 2 {
			f.nonce = ""
			mixed := []byte(rootToken)
			for i := range mixed {
				mixed[i] ^= otp[i]
			}
			status["complete"], status["encoded_token"] = true, base64.RawStdEncoding.EncodeToString(mixed)
		}
	}
	_ = json.NewEncoder(w).Encode(status)
}

func (f *fake) client(t *testing.T) *api.Client {
	t.Helper()
	srv := httptest.NewServer(f)
	t.Cleanup(srv.Close)
	c, err := api.NewClient(&api.Config{Address: srv.URL, MaxRetries: 0})
	if err != nil {
		t.Fatal(err)
	}
	c.SetToken("of the client, and never to be sent")
	return c
}

func newFake() *fake { return &fake{otp: otp, policies: []string{"root"}} }

// given keeps what it gave, to see whether it was overwritten.
type given struct {
	all [][]byte
	err error
}

func (g *given) shares(_ context.Context, n int) ([][]byte, error) {
	for i := range n {
		g.all = append(g.all, fmt.Appendf(nil, "c2hhcmU%d", i))
	}
	return g.all, g.err
}

func TestRoot(t *testing.T) {
	tests := map[string]struct {
		edit  func(*fake)
		token string
		lack  error // of shares
		want  error // nil for a root token
		says  string
		// left is whether our attempt was begun, and so has to be cancelled.
		left bool
	}{
		"1.21, no token":            {edit: func(*fake) {}},
		"2.0, with a token":         {edit: func(f *fake) { f.needs = "hvs.admin" }, token: "hvs.admin\n"},
		"2.0, without":              {edit: func(f *fake) { f.needs = "hvs.admin" }, want: ErrDenied, says: "2.0"},
		"somebody else's attempt":   {edit: func(f *fake) { f.foreign = true }, want: ErrBusy, says: "generate-root -cancel"},
		"somebody else was quicker": {edit: func(f *fake) { f.sneaks = true }, want: ErrBusy, says: "already in progress"},
		"no shares":                 {edit: func(*fake) {}, lack: errors.New("denied"), want: ErrShares, says: "denied", left: true},
		"wrong shares":              {edit: func(f *fake) { f.refuses = true }, want: ErrShares, says: "invalid key", left: true},
		"a pad that does not fit":   {edit: func(f *fake) { f.otp = "abc" }, says: "28 bytes and the one-time pad 3"},
		"a wrong pad":               {edit: func(f *fake) { f.otp = strings.ToUpper(otp) }, says: "looking up the root token"},
		"a token without root":      {edit: func(f *fake) { f.policies = []string{"default"} }, says: "not root alone"},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			f := newFake()
			tt.edit(f)
			g := &given{err: tt.lack}
			token, err := Root(t.Context(), f.client(t), g.shares, []byte(tt.token))
			if tt.want == nil && tt.says == "" {
				if err != nil || string(token) != rootToken {
					t.Fatalf("token %q, error %v", token, err)
				}
			} else if err == nil || (tt.want != nil && !errors.Is(err, tt.want)) || !strings.Contains(err.Error(), tt.says) {
				t.Fatalf("error %v; want %v with %q", err, tt.want, tt.says)
			}
			for _, s := range g.all {
				if string(s) != strings.Repeat("\x00", len(s)) {
					t.Errorf("a share was left in memory: %q", s)
				}
			}
			if (f.cancelled > 0) != tt.left || (tt.left && f.nonce != "") {
				t.Errorf("cancelled %d times, nonce %q; want ours cancelled: %t", f.cancelled, f.nonce, tt.left)
			}
			if err != nil && (strings.Contains(err.Error(), "c2hhcmU") || strings.Contains(err.Error(), otp) || strings.Contains(err.Error(), rootToken)) {
				t.Errorf("the error holds a secret: %v", err)
			}
		})
	}
}

// TestOurAttemptTakenOver: what somebody else began after ours ended is theirs.
func TestOurAttemptTakenOver(t *testing.T) {
	f := newFake()
	_, err := Root(t.Context(), f.client(t), func(context.Context, int) ([][]byte, error) {
		f.nonce = "theirs"
		return nil, errors.New("none")
	}, nil)
	if !errors.Is(err, ErrShares) || f.cancelled != 0 || f.nonce != "theirs" {
		t.Errorf("error %v, cancelled %d times; want the other's attempt left alone", err, f.cancelled)
	}
}

func TestShareThatIsNoText(t *testing.T) {
	_, err := Root(t.Context(), newFake().client(t), func(context.Context, int) ([][]byte, error) {
		return [][]byte{[]byte(`x","nonce":"`)}, nil
	}, nil)
	if !errors.Is(err, ErrShares) {
		t.Errorf("error %v", err)
	}
}

func TestSecretOfJSON(t *testing.T) {
	for in, ok := range map[string]bool{`"abc"`: true, `null`: true, `""`: true, `"a\u0041"`: false, `7`: false} {
		var s secret
		if err := json.Unmarshal([]byte(in), &s); (err == nil) != ok {
			t.Errorf("%s: error %v", in, err)
		}
	}
}

func TestRevoke(t *testing.T) {
	for name, tt := range map[string]struct {
		revoke, lookup int // HTTP status
		fails          bool
	}{
		"alive":            {http.StatusNoContent, http.StatusForbidden, false},
		"dead already":     {http.StatusForbidden, http.StatusForbidden, false},
		"still alive":      {http.StatusNoContent, http.StatusOK, true},
		"Vault is sealed":  {http.StatusServiceUnavailable, http.StatusServiceUnavailable, true},
		"nobody can tell":  {http.StatusNoContent, http.StatusInternalServerError, true},
		"refused, but not": {http.StatusForbidden, http.StatusOK, true},
	} {
		srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if r.Method == http.MethodGet {
				w.WriteHeader(tt.lookup)
				_, _ = io.WriteString(w, `{"data":{}}`)
				return
			}
			w.WriteHeader(tt.revoke)
		}))
		c, err := api.NewClient(&api.Config{Address: srv.URL, MaxRetries: 0})
		if err != nil {
			t.Fatal(err)
		}
		if err := Revoke(t.Context(), c); (err != nil) != tt.fails {
			t.Errorf("%s: error %v", name, err)
		}
		srv.Close()
	}
}

// shelf is a custody of secrets by name.
type shelf map[string]string

func (s shelf) Read(_ context.Context, id string) (custody.Secret, error) {
	if v, ok := s[id]; ok {
		return custody.Secret{Payload: []byte(v)}, nil
	}
	return custody.Secret{}, custody.ErrNotFound
}

func TestSharesOfCustody(t *testing.T) {
	c := Custody{Store: shelf{"a": "1", "c": "3", "d": "4"}, Secrets: []string{"a", "b", "c", "d"}}
	got, err := c.Shares(t.Context(), 2)
	if err != nil || len(got) != 2 || string(got[1]) != "3" {
		t.Errorf("shares %q, error %v; want the first two that are there", got, err)
	}
	if _, err := c.Shares(t.Context(), 4); err == nil || !strings.Contains(err.Error(), "secret b") || !errors.Is(err, custody.ErrNotFound) {
		t.Errorf("error %v; want one that names secret b", err)
	}
}

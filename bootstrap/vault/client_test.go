package vault

import (
	"context"
	"crypto/tls"
	"encoding/pem"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/vaultproof/vaultproof/pkg/issuer"
)

// fake is a TLS server that answers as handler says, and the file of its CA.
func fake(t *testing.T, handler http.HandlerFunc) (addr, ca string) {
	t.Helper()
	srv := httptest.NewTLSServer(handler)
	t.Cleanup(srv.Close)
	ca = filepath.Join(t.TempDir(), "ca.crt")
	raw := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: srv.Certificate().Raw})
	if err := os.WriteFile(ca, raw, 0o600); err != nil {
		t.Fatal(err)
	}
	return srv.URL, ca
}

func client(t *testing.T, addr, ca string) *Client {
	t.Helper()
	c, err := New(addr, ca, "example.com") // the name in httptest's certificate
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func TestSharesOnlyGoToTheOwnPod(t *testing.T) {
	for _, addr := range []string{"http://127.0.0.1:8200", "https://vault-1.vault-internal:8200", "https://10.1.2.3:8200", "127.0.0.1:8200", "https://:8200", ""} {
		if _, err := New(addr, "ca.crt", "localhost"); err == nil || !strings.Contains(err.Error(), "-vault-addr") {
			t.Errorf("%q: error %v; want a refusal that names the flag", addr, err)
		}
	}
}

// TestRogueListener: a listener with a certificate of another CA, or for
// another name, gets no byte of a share.
func TestRogueListener(t *testing.T) {
	var got atomic.Int64
	addr, ca := fake(t, func(w http.ResponseWriter, r *http.Request) {
		n, _ := io.Copy(io.Discard, r.Body)
		got.Add(n + 1)
	})
	other, err := issuer.NewCA("other", time.Hour)
	if err != nil {
		t.Fatal(err)
	}
	otherCA := filepath.Join(t.TempDir(), "ca.crt")
	if err := os.WriteFile(otherCA, other.PEM(), 0o600); err != nil {
		t.Fatal(err)
	}
	for name, c := range map[string]struct{ ca, name string }{"other CA": {otherCA, "example.com"}, "other name": {ca, "localhost.test"}} {
		rogue, err := New(addr, c.ca, c.name)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := rogue.Submit(t.Context(), []byte("c2hhcmU=")); err == nil {
			t.Errorf("%s: no error", name)
		}
	}
	if got.Load() != 0 {
		t.Errorf("the rogue listener was spoken to: %d", got.Load())
	}
}

func TestRedirectsAreNotFollowed(t *testing.T) {
	var leaked atomic.Bool
	elsewhere, _ := fake(t, func(http.ResponseWriter, *http.Request) { leaked.Store(true) })
	addr, ca := fake(t, func(w http.ResponseWriter, r *http.Request) {
		http.Redirect(w, r, elsewhere+r.URL.Path, http.StatusTemporaryRedirect)
	})
	if _, err := client(t, addr, ca).Submit(t.Context(), []byte("c2hhcmU=")); err == nil {
		t.Error("no error although Vault redirected")
	}
	if leaked.Load() {
		t.Error("the share followed a redirect")
	}
}

func TestInitRefusesHalfAnAnswer(t *testing.T) {
	for name, body := range map[string]string{
		"too few shares": `{"keys_base64":["YQ=="],"root_token":"hvs.x"}`,
		"no root token":  `{"keys_base64":["YQ==","Yg=="]}`,
	} {
		addr, ca := fake(t, func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, body) })
		if _, err := client(t, addr, ca).Init(t.Context(), 2, 2); err == nil || strings.Contains(err.Error(), "hvs.") || strings.Contains(err.Error(), "YQ==") {
			t.Errorf("%s: error %v; want one, without keys", name, err)
		}
	}
}

// TestInitOutlivesStop: once sys/init is on its way, being told to stop must
// not lose the answer.
func TestInitOutlivesStop(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	addr, ca := fake(t, func(w http.ResponseWriter, _ *http.Request) {
		cancel()
		_, _ = io.WriteString(w, `{"keys_base64":["YQ==","Yg=="],"root_token":"hvs.x"}`)
	})
	k, err := client(t, addr, ca).Init(ctx, 2, 2)
	if err != nil || len(k.Shares) != 2 {
		t.Fatalf("keys %d, error %v", len(k.Shares), err)
	}
	share := k.Shares[0]
	k.Wipe()
	if share[0] != 0 || k.Root != nil {
		t.Error("the keys were not overwritten")
	}
}

func TestSealStatus(t *testing.T) {
	addr, ca := fake(t, func(w http.ResponseWriter, _ *http.Request) {
		_, _ = io.WriteString(w, `{"initialized":true,"sealed":true,"t":3,"n":5,"progress":2,"nonce":"a","removed_from_cluster":true}`)
	})
	s, err := client(t, addr, ca).SealStatus(t.Context())
	want := Seal{Initialised: true, Sealed: true, Removed: true, Threshold: 3, Progress: 2, Nonce: "a"}
	if err != nil || s != want {
		t.Errorf("%+v, error %v; want %+v", s, err, want)
	}
}

// TestOneConnection: polling costs no handshake each time.
func TestOneConnection(t *testing.T) {
	var handshakes atomic.Int64
	srv := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		_, _ = io.WriteString(w, `{"initialized":true}`)
	}))
	srv.TLS = &tls.Config{VerifyConnection: func(tls.ConnectionState) error { handshakes.Add(1); return nil }}
	srv.StartTLS()
	t.Cleanup(srv.Close)
	ca := filepath.Join(t.TempDir(), "ca.crt")
	if err := os.WriteFile(ca, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: srv.Certificate().Raw}), 0o600); err != nil {
		t.Fatal(err)
	}
	c := client(t, srv.URL, ca)
	for range 20 {
		if _, err := c.SealStatus(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	if n := handshakes.Load(); n != 1 {
		t.Errorf("%d handshakes for 20 polls, want 1", n)
	}
}

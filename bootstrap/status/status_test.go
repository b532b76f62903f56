package status

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"fmt"
	"log/slog"
	"math/big"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/vaultproof/vaultproof/pkg/issuer"
)

func get(t *testing.T, b *Board, path string) (int, string) {
	t.Helper()
	w := httptest.NewRecorder()
	b.Handler().ServeHTTP(w, httptest.NewRequest(http.MethodGet, path, nil))
	return w.Code, w.Body.String()
}

func TestPaths(t *testing.T) {
	b := NewBoard("vault-0")
	now := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	b.now = func() time.Time { return now }
	b.Set(Status{State: "blocked", Why: "secret x is missing", Pod: "vault-0"}, false)
	first := now
	now = now.Add(time.Minute)
	b.Set(Status{State: "blocked", Why: "secret x is missing", Pod: "vault-0"}, false)

	if code, body := get(t, b, "/readyz"); code != http.StatusServiceUnavailable || !strings.Contains(body, "secret x is missing") {
		t.Errorf("/readyz: %d %s; want 503 with the reason", code, body)
	}
	code, body := get(t, b, "/status")
	var s Status
	if err := json.Unmarshal([]byte(body), &s); err != nil || code != http.StatusOK || !s.Since.Equal(first) {
		t.Errorf("/status: %d %s, error %v; want since %s", code, body, err, first)
	}
	if code, _ := get(t, b, "/healthz"); code != http.StatusOK {
		t.Errorf("/healthz: %d; want 200", code)
	}
	now = now.Add(stuckAfter)
	if code, _ := get(t, b, "/healthz"); code != http.StatusServiceUnavailable {
		t.Errorf("/healthz of a stuck machine: %d; want 503", code)
	}
	b.Set(Status{State: "initialised"}, true)
	now = now.Add(stuckAfter)
	if code, _ := get(t, b, "/healthz"); code != http.StatusOK {
		t.Errorf("/healthz with keys in hand: %d; a restart would lose them", code)
	}
}

func TestServe(t *testing.T) {
	dir := t.TempDir()
	cert, key := filepath.Join(dir, "tls.crt"), filepath.Join(dir, "tls.key")
	ca, err := issuer.NewCA("test", time.Hour)
	if err != nil {
		t.Fatal(err)
	}
	renew := func(at time.Time) {
		pair, err := ca.Server("vault", []string{"127.0.0.1"}, time.Hour)
		if err != nil {
			t.Fatal(err)
		}
		for file, content := range map[string][]byte{key: pair.Key, cert: pair.Cert} {
			if err := os.WriteFile(file, content, 0o600); err != nil {
				t.Fatal(err)
			}
			if err := os.Chtimes(file, at, at); err != nil {
				t.Fatal(err)
			}
		}
	}
	log := slog.New(slog.DiscardHandler)
	if err := Serve(t.Context(), "127.0.0.1:0", cert, key, http.NotFoundHandler(), log); err == nil || !strings.Contains(err.Error(), "-tls-cert") {
		t.Errorf("without a certificate: error %v; want one that names the flag", err)
	}
	start := time.Now()
	renew(start)
	taken, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	if err := Serve(t.Context(), taken.Addr().String(), cert, key, http.NotFoundHandler(), log); err == nil || !strings.Contains(err.Error(), "-listen") {
		t.Errorf("on a taken port: error %v; want one that names the flag", err)
	}
	address := taken.Addr().String()
	if err := taken.Close(); err != nil {
		t.Fatal(err)
	}

	ctx, cancel := context.WithCancel(t.Context())
	served := make(chan error, 1)
	go func() { served <- Serve(ctx, address, cert, key, NewBoard("vault-0").Handler(), log) }()
	first := serial(t, address, ca.PEM())
	renew(start.Add(time.Second))
	if second := serial(t, address, ca.PEM()); second.Cmp(first) == 0 {
		t.Error("the renewed certificate is not served")
	}
	if err := os.WriteFile(cert, []byte("junk"), 0o600); err != nil {
		t.Fatal(err)
	}
	serial(t, address, ca.PEM()) // the old one stays in use
	cancel()
	if err := <-served; err != nil {
		t.Error(err)
	}
}

// serial is that of the certificate served, once the listener is up.
func serial(t *testing.T, address string, ca []byte) *big.Int {
	t.Helper()
	roots := x509.NewCertPool()
	roots.AppendCertsFromPEM(ca)
	var err error
	for range 100 {
		var c *tls.Conn
		if c, err = tls.Dial("tcp", address, &tls.Config{RootCAs: roots}); err == nil {
			defer c.Close()
			return c.ConnectionState().PeerCertificates[0].SerialNumber
		}
		<-time.After(20 * time.Millisecond)
	}
	t.Fatal(fmt.Errorf("dialling %s: %w", address, err))
	return nil
}

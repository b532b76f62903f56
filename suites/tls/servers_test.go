package tls

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/vaultproof/vaultproof/pkg/ingress"
	"github.com/vaultproof/vaultproof/pkg/issuer"
)

const publicHost = "vault.example.org"

// certified is a certificate for names by a CA of its own.
func certified(t *testing.T, life time.Duration, names ...string) (tls.Certificate, issuer.Keypair) {
	t.Helper()
	ca, err := issuer.NewCA("test", 10*365*24*time.Hour)
	if err != nil {
		t.Fatal(err)
	}
	pair, err := ca.Server("test", names, life)
	if err != nil {
		t.Fatal(err)
	}
	certificate, err := tls.X509KeyPair(pair.Cert, pair.Key)
	if err != nil {
		t.Fatal(err)
	}
	return certificate, pair
}

func to(address string) dial {
	return func(ctx context.Context) (net.Conn, error) { return (&net.Dialer{}).DialContext(ctx, "tcp", address) }
}

// fakeVault answers as Vault does, over TLS.
func fakeVault(t *testing.T, names ...string) (dial, *httptest.Server) {
	t.Helper()
	certificate, _ := certified(t, time.Hour, names...)
	server := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("X-Vault-Hostname", "vault-0")
		w.Header().Set("Strict-Transport-Security", "max-age=31536000; includeSubDomains")
		_, _ = io.WriteString(w, `{"initialized":true,"sealed":false}`)
	}))
	server.TLS = &tls.Config{Certificates: []tls.Certificate{certificate}}
	server.Config.ErrorLog = quiet()
	server.StartTLS()
	t.Cleanup(server.Close)
	return to(server.Listener.Addr().String()), server
}

// passthrough copies bytes for the handshakes that name the host, and closes the others.
func passthrough(t *testing.T, host string, vault dial) dial {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { listener.Close() })
	go func() {
		for {
			conn, err := listener.Accept()
			if err != nil {
				return
			}
			go func() {
				defer conn.Close()
				hello := make([]byte, 4096)
				n, err := conn.Read(hello)
				if err != nil || host != "" && !strings.Contains(string(hello[:n]), "\x00"+string(byte(len(host)))+host) {
					return
				}
				back, err := vault(context.Background())
				if err != nil {
					return
				}
				defer back.Close()
				_, _ = back.Write(hello[:n])
				go func() { _, _ = io.Copy(back, conn) }()
				_, _ = io.Copy(conn, back)
			}()
		}
	}()
	return to(listener.Addr().String())
}

// terminating is a proxy that ends TLS with a certificate of its own, and speaks TLS to
// Vault again.
func terminating(t *testing.T, certificate tls.Certificate, vault *httptest.Server) dial {
	t.Helper()
	target, err := url.Parse(vault.URL)
	if err != nil {
		t.Fatal(err)
	}
	proxy := httputil.NewSingleHostReverseProxy(target)
	proxy.Transport = vault.Client().Transport.(*http.Transport).Clone()
	proxy.Transport.(*http.Transport).TLSClientConfig = unverified("")
	server := httptest.NewUnstartedServer(proxy)
	server.TLS = &tls.Config{Certificates: []tls.Certificate{certificate}}
	server.Config.ErrorLog = quiet()
	server.StartTLS()
	t.Cleanup(server.Close)
	return to(server.Listener.Addr().String())
}

func doorThrough(secure dial) (ingress.Door, ingress.Entry) {
	e := ingress.Entry{Name: "proxy", DialTLS: secure}
	return ingress.Door{Object: "Ingress web/vault", Namespace: "web", Host: publicHost, Passthrough: true, Entries: []ingress.Entry{e}}, e
}

func shownBy(t *testing.T, at dial, name string) *x509.Certificate {
	t.Helper()
	leaf, err := leafOf(t.Context(), at, name)
	if err != nil {
		t.Fatal(err)
	}
	return leaf
}

// says demands an error that holds a text; an empty text demands none.
func says(t *testing.T, what string, err error, want string) {
	t.Helper()
	if (want == "") != (err == nil) || err != nil && !strings.Contains(err.Error(), want) {
		t.Errorf("%s: %v, want %q", what, err, want)
	}
}

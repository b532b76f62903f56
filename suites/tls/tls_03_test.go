package tls

import (
	"crypto/tls"
	"net"
	"net/http"
	"net/http/httptest"
	"testing"
	"time"

	"github.com/vaultproof/vaultproof/pkg/target"
)

func TestNothingOfVaultForStrangers(t *testing.T) {
	vault, server := fakeVault(t, publicHost)
	own := shownBy(t, vault, publicHost)
	edge, _ := certified(t, time.Hour, "edge.example.org")
	nothing := httptest.NewUnstartedServer(http.NotFoundHandler())
	nothing.TLS = &tls.Config{Certificates: []tls.Certificate{edge}}
	nothing.StartTLS()
	defer nothing.Close()
	for name, c := range map[string]struct {
		door dial
		want string
	}{
		"refuses them":                       {passthrough(t, publicHost, vault), ""},
		"shows them a page of its own":       {to(nothing.Listener.Addr().String()), ""},
		"passes everybody through":           {passthrough(t, "", vault), "shows Vault's own certificate"},
		"serves Vault under another name":    {terminating(t, edge, server), "is answered by Vault with status 200"},
		"passes through and knows the names": {passthrough(t, publicHost, vault), ""},
	} {
		var failed error
		for _, stranger := range strangers(publicHost, &target.Target{ServerName: "vault-active.vault.svc"}) {
			seen, err := showsTo(t.Context(), c.door, stranger, publicHost)
			if err != nil {
				t.Fatalf("%s, %q: %v", name, stranger, err)
			}
			if err := nothingOfVault(stranger, seen, own); err != nil {
				failed = err
			}
		}
		says(t, "a door that "+name, failed, c.want)
	}
	closed, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	closed.Close()
	if _, err := showsTo(t.Context(), to(closed.Addr().String()), "", publicHost); !isUnreachable(err) {
		t.Errorf("a door that nobody opens: %v", err)
	}
}

// Where Vault has no certificate, what it says is known all the same.
func TestContentIsFoundWithoutACertificateToCompare(t *testing.T) {
	_, server := fakeVault(t, publicHost)
	edge, _ := certified(t, time.Hour, "edge.example.org")
	seen, err := showsTo(t.Context(), terminating(t, edge, server), "edge.example.org", publicHost)
	if err != nil {
		t.Fatal(err)
	}
	says(t, "Vault behind an edge", nothingOfVault("edge.example.org", seen, nil), "is answered by Vault")
}

package tenancy

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"errors"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/vaultproof/vaultproof/pkg/ingress"
)

// doorTo is a door to a server that answers in Vault's place.
func doorTo(t *testing.T, answer http.HandlerFunc) *Door {
	t.Helper()
	server := httptest.NewTLSServer(answer)
	t.Cleanup(server.Close)
	roots := x509.NewCertPool()
	roots.AddCert(server.Certificate())
	dial := func(ctx context.Context) (net.Conn, error) {
		return (&net.Dialer{}).DialContext(ctx, "tcp", server.Listener.Addr().String())
	}
	door, err := newDoor([]ingress.Door{{Host: "example.com", Passthrough: true, Entries: []ingress.Entry{{Name: "server", DialTLS: dial}}}},
		&tls.Config{RootCAs: roots, MinVersion: tls.VersionTLS12})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(door.Close)
	return door
}

func TestALoginComesThroughTheDoor(t *testing.T) {
	t.Setenv("VAULT_TOKEN", "of-the-user")
	door := doorTo(t, func(w http.ResponseWriter, q *http.Request) {
		var said map[string]string
		_ = json.NewDecoder(q.Body).Decode(&said)
		switch {
		case q.Header.Get("X-Vault-Token") != "" || q.Host != "example.com:443" || q.URL.Path != "/v1/auth/tenant-a/login":
			http.Error(w, `{"errors":["a token of somebody, or another place"]}`, http.StatusTeapot)
		case said["jwt"] != "right" || said["role"] != "app":
			http.Error(w, `{"errors":["permission denied"]}`, http.StatusForbidden)
		default:
			_, _ = w.Write([]byte(`{"auth":{"client_token":"t","policies":["p"],"lease_duration":60}}`))
		}
	})
	auth, err := Login(t.Context(), door, "tenant-a", "app", "right")
	if err != nil || auth.ClientToken != "t" || auth.Policies[0] != "p" {
		t.Errorf("%+v (%v)", auth, err)
	}
	_, err = Login(t.Context(), door, "tenant-a", "app", "s3cret-jwt")
	if Status(err) != http.StatusForbidden || strings.Contains(err.Error(), "s3cret") || !strings.Contains(err.Error(), "auth/tenant-a with role app") {
		t.Errorf("refused with status %d: %v", Status(err), err)
	}
	client, err := door.Client("mine")
	if err != nil || client.Token() != "mine" {
		t.Errorf("a client with token %q (%v), want its own", client.Token(), err)
	}
}

func TestNoAnswerHasNoStatus(t *testing.T) {
	door := doorTo(t, func(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) })
	if _, err := Login(t.Context(), door, "m", "r", "j"); err == nil || Status(err) != 0 {
		t.Errorf("status %d (%v), want none", Status(err), err)
	}
	if Status(nil) != http.StatusOK || Status(errors.New("x")) != 0 {
		t.Error("no error is no success, or any error is an answer")
	}
	empty := doorTo(t, func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write([]byte(`{}`)) })
	if _, err := Login(t.Context(), empty, "m", "r", "j"); err == nil || !strings.Contains(err.Error(), "without a token") {
		t.Errorf("an answer without a token: %v", err)
	}
}

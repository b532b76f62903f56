package terraform

import (
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
)

func TestTheRelayPassesTLSThrough(t *testing.T) {
	server := httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, "through") }))
	defer server.Close()
	var dialer net.Dialer
	r, err := listen(t.Context(), func(ctx context.Context) (net.Conn, error) {
		return dialer.DialContext(ctx, "tcp", server.Listener.Addr().String())
	})
	if err != nil {
		t.Fatal(err)
	}
	client := server.Client()
	response, err := client.Get(r.url())
	if err != nil {
		t.Fatal(err)
	}
	body, err := io.ReadAll(response.Body)
	if err != nil || string(body) != "through" {
		t.Errorf("%q (%v)", body, err)
	}
	if err := response.Body.Close(); err != nil {
		t.Error(err)
	}
	address := r.listener.Addr().String()
	r.stop() // with the client's connection still open
	if _, err := dialer.DialContext(t.Context(), "tcp", address); err == nil {
		t.Error("the port is open after the relay was stopped")
	}
}

func TestAWayThatIsClosedClosesTheConnection(t *testing.T) {
	r, err := listen(t.Context(), func(context.Context) (net.Conn, error) { return nil, errors.New("no door") })
	if err != nil {
		t.Fatal(err)
	}
	defer r.stop()
	if !strings.HasPrefix(r.url(), "https://127.0.0.1:") {
		t.Errorf("it listens at %s, want loopback alone", r.url())
	}
	var dialer net.Dialer
	conn, err := dialer.DialContext(t.Context(), "tcp", r.listener.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	if n, err := conn.Read(make([]byte, 1)); n != 0 || err == nil {
		t.Errorf("read %d bytes (%v), want the connection closed", n, err)
	}
}

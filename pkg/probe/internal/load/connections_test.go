package load

import (
	"context"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/vaultproof/vaultproof/pkg/history"
	"github.com/vaultproof/vaultproof/pkg/probe/internal/fakevault"
	"github.com/vaultproof/vaultproof/pkg/probe/internal/wire"
)

// connected is a client of a server with real sockets.
func connected(t *testing.T) (*client, *fakevault.Server) {
	t.Helper()
	server := fakevault.New("vault-0")
	t.Cleanup(server.Close)
	cfg := wire.Config{
		Address: server.URL, CAPEM: server.CA(), ServerName: fakevault.ServerName, Token: fakevault.Token, Mount: "secret",
	}.WithDefaults()
	c, err := newClient(cfg, cfg.Main())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.pool.CloseIdleConnections)
	return c, server
}

// A pod that says it cannot serve is not asked again on the same connection.
func TestAFailedAnswerEmptiesThePool(t *testing.T) {
	c, server := connected(t)
	c.patience = 0
	dials, dial := 0, c.pool.DialContext
	c.pool.DialContext = func(ctx context.Context, network, address string) (net.Conn, error) {
		dials++
		return dial(ctx, network, address)
	}
	for i, step := range []struct {
		status, dials int
	}{{0, 1}, {0, 0}, {http.StatusForbidden, 0}, {http.StatusInternalServerError, 0}, {0, 1}, {http.StatusTemporaryRedirect, 0}} {
		server.Intercept(nil)
		if step.status != 0 {
			server.Intercept(func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(step.status) })
		}
		before := dials
		c.read(t.Context(), "k")
		if n := dials - before; n != step.dials {
			t.Errorf("read %d, answered with status %d, made %d connections, want %d", i, step.status, n, step.dials)
		}
	}
	// A short trouble costs no connection.
	c.patience = time.Hour
	server.Intercept(nil)
	c.read(t.Context(), "k")
	before := dials
	server.Intercept(func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusInternalServerError) })
	c.read(t.Context(), "k")
	c.read(t.Context(), "k")
	if dials != before {
		t.Error("one failed answer made the client leave")
	}
}

// A standby that names the active pod is believed once; a circle ends.
func TestOneRedirectIsFollowed(t *testing.T) {
	c, server := connected(t)
	redirects := 1
	server.Intercept(func(w http.ResponseWriter, r *http.Request) {
		if redirects--; redirects >= 0 {
			http.Redirect(w, r, server.URL+r.URL.Path, http.StatusTemporaryRedirect)
		}
	})
	if r := c.write(t.Context(), "k", "v", 0); r.outcome != history.OK || r.pod != "vault-0" {
		t.Errorf("a write that was redirected once is %s (%s), answered by %q", r.outcome, r.err, r.pod)
	}
	redirects = 2
	if r := c.read(t.Context(), "k"); r.outcome != history.Fail || !strings.Contains(r.err, "HTTP 307") {
		t.Errorf("a read that was redirected twice is %s (%s)", r.outcome, r.err)
	}
	next, err := http.NewRequestWithContext(t.Context(), http.MethodGet, "http://plain/", nil)
	if err != nil {
		t.Fatal(err)
	}
	if err := followOne(next, make([]*http.Request, 1)); err == nil {
		t.Error("a redirect to plaintext would be followed")
	}
}

// Package realvault is what the sidecar's tests with real Vaults stand on: a folder with
// a CA and a certificate, Vaults on loopback that store with raft, and a real custody
// server. There is no Kubernetes.
package realvault

import (
	"bytes"
	"crypto/x509"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"github.com/vaultproof/vaultproof/bootstrap/keys"
	"github.com/vaultproof/vaultproof/fixtures/secretmanager"
	"github.com/vaultproof/vaultproof/fixtures/secretmanager/secretmanagertest"
	"github.com/vaultproof/vaultproof/pkg/custody"
	"github.com/vaultproof/vaultproof/pkg/issuer"
)

// Ground is the folder of one test. It holds ca.crt, tls.crt and tls.key, for localhost
// and 127.0.0.1.
type Ground struct {
	T      *testing.T
	Dir    string
	Roots  *x509.CertPool // the CA
	binary string
}

// New skips the test where there is no Vault.
func New(t *testing.T) *Ground {
	t.Helper()
	g := &Ground{T: t, binary: Binary(t), Dir: t.TempDir(), Roots: x509.NewCertPool()}
	ca, err := issuer.NewCA("test", time.Hour)
	Must(t, err)
	pair, err := ca.Server("vault", []string{"localhost", "127.0.0.1"}, time.Hour)
	Must(t, err)
	g.Roots.AppendCertsFromPEM(ca.PEM())
	g.File("ca.crt", ca.PEM())
	g.File("tls.crt", pair.Cert)
	g.File("tls.key", pair.Key)
	return g
}

// Path is that of a file in the folder.
func (g *Ground) Path(name string) string { return filepath.Join(g.Dir, name) }

// File writes one.
func (g *Ground) File(name string, content []byte) {
	g.T.Helper()
	Must(g.T, os.WriteFile(g.Path(name), content, 0o600))
}

// Custody is a real custody server that trusts the Vault pods' service account, whose
// token is in the file token of the folder, beside custody-ca.crt.
type Custody struct {
	*secretmanagertest.Harness
	Store *custody.Client
	Ring  *keys.Ring
}

// Custody starts one.
func (g *Ground) Custody() *Custody {
	g.T.Helper()
	h := secretmanagertest.Start(g.T)
	h.Grant("vault", "vault", secretmanager.RoleAdmin, "vault-")
	g.File("custody-ca.crt", h.CAPEM)
	g.File("token", []byte(h.Token("vault", "vault")))
	store := h.Client(h.Config("vault", "vault"))
	return &Custody{Harness: h, Store: store, Ring: &keys.Ring{Store: store, Prefix: "vault", Shares: 5}}
}

// Secret reads the newest version of one.
func (c *Custody) Secret(t *testing.T, id string) string {
	t.Helper()
	s, err := c.Store.Read(t.Context(), id)
	Must(t, err)
	return string(s.Payload)
}

// Binary finds a real Vault or skips the test.
func Binary(t *testing.T) string {
	t.Helper()
	if p := os.Getenv("VAULT_BINARY"); p != "" {
		return p
	}
	if p, err := exec.LookPath("vault"); err == nil {
		return p
	}
	if dir, err := os.UserCacheDir(); err == nil {
		if found, _ := filepath.Glob(filepath.Join(dir, "vaultproof", "bin", "vault")); len(found) > 0 {
			return found[0]
		}
	}
	t.Skip("no vault binary: set VAULT_BINARY, or put one into PATH or the vaultproof cache folder")
	return ""
}

// Must ends the test at an error.
func Must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// ports that were handed out; tests that run at the same time must not share one.
var ports sync.Map

// Port is a free one.
func Port(t *testing.T) int {
	t.Helper()
	for {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		Must(t, err)
		port := l.Addr().(*net.TCPAddr).Port
		Must(t, l.Close())
		if _, taken := ports.LoadOrStore(port, true); !taken {
			return port
		}
	}
}

// Log takes what several goroutines write.
type Log struct {
	mu  sync.Mutex
	buf bytes.Buffer
}

// Write implements io.Writer.
func (b *Log) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.buf.Write(p)
}

// String is all of it.
func (b *Log) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.buf.String()
}

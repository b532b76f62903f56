// Package vaulttest runs a real Vault for a test: one process on loopback with
// TLS, nothing on disk but its certificate, initialised and unsealed.
package vaulttest

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"testing"
	"time"

	"github.com/hashicorp/vault/api"
	"github.com/vaultproof/vaultproof/pkg/issuer"
)

const (
	// Shares and Threshold of every Vault of this package.
	Shares    = 5
	Threshold = 3
	// answerWithin is how long a Vault may take to answer, on a busy machine.
	answerWithin = time.Minute
	pollEvery    = 25 * time.Millisecond
)

// Vault is a running one.
type Vault struct {
	Address string // https, loopback
	CAFile  string // of its certificate, for "localhost" and 127.0.0.1
	Keys    *api.InitResponse

	t     testing.TB
	roots *x509.CertPool
}

// Start runs a Vault until the test ends. Without a binary the test is skipped.
func Start(t testing.TB) *Vault {
	t.Helper()
	binary := os.Getenv("VAULT_BINARY")
	if binary == "" {
		var err error
		if binary, err = exec.LookPath("vault"); err != nil {
			t.Skip("no vault binary: set VAULT_BINARY, or put one into PATH")
		}
	}
	v := &Vault{t: t, roots: x509.NewCertPool()}
	dir := t.TempDir()
	ca, err := issuer.NewCA("test", time.Hour)
	v.must(err)
	pair, err := ca.Server("vault", []string{"localhost", "127.0.0.1"}, time.Hour)
	v.must(err)
	v.roots.AppendCertsFromPEM(ca.PEM())
	v.CAFile = v.file(dir, "ca.crt", ca.PEM())
	port := v.freePort()
	v.Address = "https://" + port
	config := v.file(dir, "vault.hcl", fmt.Appendf(nil, `disable_mlock = true
api_addr = %q
cluster_addr = "https://%s"
storage "inmem_ha" {}
listener "tcp" {
  address = %q
  tls_cert_file = %q
  tls_key_file = %q
}
`, v.Address, v.freePort(), port, v.file(dir, "tls.crt", pair.Cert), v.file(dir, "tls.key", pair.Key)))
	v.run(binary, config)
	v.open()
	return v
}

// run starts the process, and ends it with the test.
func (v *Vault) run(binary, config string) {
	cmd := exec.Command(binary, "server", "-config="+config)
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	v.must(cmd.Start())
	v.t.Cleanup(func() {
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
	})
}

// open initialises and unseals it.
func (v *Vault) open() {
	client := v.Client("")
	v.await("answer", func(ctx context.Context) bool {
		_, err := client.Sys().InitStatusWithContext(ctx)
		return err == nil
	})
	var err error
	v.Keys, err = client.Sys().Init(&api.InitRequest{SecretShares: Shares, SecretThreshold: Threshold})
	v.must(err)
	for _, k := range v.Keys.KeysB64[:Threshold] {
		_, err := client.Sys().Unseal(k)
		v.must(err)
	}
	v.await("activity", func(ctx context.Context) bool {
		h, err := client.Sys().HealthWithContext(ctx)
		return err == nil && !h.Sealed && !h.Standby
	})
}

// Client speaks to it with a token.
func (v *Vault) Client(token string) *api.Client {
	v.t.Helper()
	c, err := api.NewClient(&api.Config{Address: v.Address, MaxRetries: 0, HttpClient: &http.Client{Timeout: 10 * time.Second,
		Transport: &http.Transport{TLSClientConfig: &tls.Config{RootCAs: v.roots, ServerName: "localhost"}}}})
	v.must(err)
	c.ClearNamespace()
	c.SetToken(token)
	return c
}

// Root speaks to it with its first root token.
func (v *Vault) Root() *api.Client { return v.Client(v.Keys.RootToken) }

// Alive tells whether a token works.
func (v *Vault) Alive(token string) bool {
	_, err := v.Client(token).Auth().Token().LookupSelf()
	return err == nil
}

func (v *Vault) await(what string, ok func(context.Context) bool) {
	v.t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), answerWithin)
	defer cancel()
	tick := time.NewTicker(pollEvery)
	defer tick.Stop()
	for !ok(ctx) {
		select {
		case <-tick.C:
		case <-ctx.Done():
			v.t.Fatalf("Vault: no %s within %s", what, answerWithin)
		}
	}
}

func (v *Vault) file(dir, name string, content []byte) string {
	path := filepath.Join(dir, name)
	v.must(os.WriteFile(path, content, 0o600))
	return path
}

func (v *Vault) freePort() string {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	v.must(err)
	defer l.Close()
	return l.Addr().String()
}

func (v *Vault) must(err error) {
	v.t.Helper()
	if err != nil {
		v.t.Fatal(err)
	}
}

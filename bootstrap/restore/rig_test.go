package restore

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/hashicorp/vault/api"
	"github.com/vaultproof/vaultproof/bootstrap/keys"
	"github.com/vaultproof/vaultproof/bootstrap/machine"
	"github.com/vaultproof/vaultproof/bootstrap/policies"
	"github.com/vaultproof/vaultproof/bootstrap/provision"
	"github.com/vaultproof/vaultproof/bootstrap/sidecar"
	"github.com/vaultproof/vaultproof/bootstrap/storage"
	"github.com/vaultproof/vaultproof/bootstrap/vault"
	"github.com/vaultproof/vaultproof/fixtures/secretmanager"
	"github.com/vaultproof/vaultproof/fixtures/secretmanager/secretmanagertest"
	"github.com/vaultproof/vaultproof/pkg/custody"
	"github.com/vaultproof/vaultproof/pkg/issuer"
)

const settle = 90 * time.Second // a loaded machine; a peer may ask to join only once a minute

// rig is a cluster of real Vaults, each with the real sidecar's machine beside
// it, and a real custody server.
type rig struct {
	t       *testing.T
	dir     string
	binary  string
	custody *secretmanagertest.Harness
	store   *custody.Client
	ring    *keys.Ring
	roots   *x509.CertPool
	pods    []*pod
}

type pod struct {
	rig     *rig
	name    string
	port    int
	cluster int

	mu     sync.Mutex
	vault  *exec.Cmd
	turn   machine.Turn
	ready  bool
	cancel context.CancelFunc
	ended  chan struct{}
	log    buffer
}

type buffer struct {
	mu  sync.Mutex
	buf bytes.Buffer
}

func (b *buffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.buf.Write(p)
}

func (b *buffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.buf.String()
}

func newRig(t *testing.T, n int) *rig {
	t.Helper()
	binary := os.Getenv("VAULT_BINARY")
	if binary == "" {
		var err error
		if binary, err = exec.LookPath("vault"); err != nil {
			t.Skip("no vault binary: set VAULT_BINARY, or put one into PATH")
		}
	}
	r := &rig{t: t, dir: t.TempDir(), binary: binary, custody: secretmanagertest.Start(t), roots: x509.NewCertPool()}
	r.custody.Grant("vault", "vault", secretmanager.RoleAdmin, "vault-")
	r.store = r.custody.Client(r.custody.Config("vault", "vault"))
	r.ring = &keys.Ring{Store: r.store, Prefix: "vault", Shares: 5}
	ca, err := issuer.NewCA("test", time.Hour)
	must(t, err)
	pair, err := ca.Server("vault", []string{"localhost", "127.0.0.1"}, time.Hour)
	must(t, err)
	r.roots.AppendCertsFromPEM(ca.PEM())
	for name, content := range map[string][]byte{"ca.crt": ca.PEM(), "tls.crt": pair.Cert, "tls.key": pair.Key,
		"custody-ca.crt": r.custody.CAPEM, "token": []byte(r.custody.Token("vault", "vault"))} {
		must(t, os.WriteFile(r.path(name), content, 0o600))
	}
	for i := range n {
		r.pods = append(r.pods, &pod{rig: r, name: fmt.Sprintf("vault-%d", i), port: freePort(t), cluster: freePort(t)})
	}
	for _, p := range r.pods {
		p.configure()
	}
	t.Cleanup(func() {
		for _, p := range r.pods {
			p.stopSidecar()
			p.stopVault()
			if t.Failed() {
				raw, _ := os.ReadFile(r.path(p.name + ".log"))
				t.Logf("sidecar of %s:\n%s\nend of Vault's log:\n%s", p.name, p.log.String(), raw[max(0, len(raw)-3000):])
			}
		}
	})
	return r
}

func (r *rig) path(name string) string { return filepath.Join(r.dir, name) }

func (p *pod) markers() string { return p.rig.path(p.name + "/bootstrap") }

func (p *pod) configure() {
	r := p.rig
	must(r.t, os.MkdirAll(p.markers(), 0o700))
	var joins strings.Builder
	for _, peer := range r.pods {
		fmt.Fprintf(&joins, "  retry_join {\n    leader_api_addr = %q\n    leader_ca_cert_file = %q\n    leader_tls_servername = \"localhost\"\n  }\n", peer.url(), r.path("ca.crt"))
	}
	must(r.t, os.WriteFile(r.path(p.name+".hcl"), fmt.Appendf(nil, `disable_mlock = true
api_addr = %q
cluster_addr = "https://127.0.0.1:%d"
listener "tcp" {
  address = "127.0.0.1:%d"
  cluster_address = "127.0.0.1:%d"
  tls_cert_file = %q
  tls_key_file = %q
}
storage "raft" {
  path = %q
  node_id = %q
  performance_multiplier = "1"
%s}
`, p.url(), p.cluster, p.port, p.cluster, r.path("tls.crt"), r.path("tls.key"), r.path(p.name), p.name, joins.String()), 0o600))
}

func (p *pod) url() string { return fmt.Sprintf("https://127.0.0.1:%d", p.port) }

// startVault does what the container's command does: it empties the storage if
// that is asked for, and runs Vault.
func (p *pod) startVault() {
	p.rig.t.Helper()
	p.mu.Lock()
	defer p.mu.Unlock()
	if ask := filepath.Join(p.markers(), "rebuild"); exists(ask) {
		p.empty()
		must(p.rig.t, os.Remove(ask))
	}
	log, err := os.OpenFile(p.rig.path(p.name+".log"), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	must(p.rig.t, err)
	defer log.Close()
	p.vault = exec.Command(p.rig.binary, "server", "-config="+p.rig.path(p.name+".hcl"))
	p.vault.Stdout, p.vault.Stderr = log, log
	p.vault.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	must(p.rig.t, p.vault.Start())
}

func exists(path string) bool {
	_, err := os.Stat(path)
	return err == nil
}

// empty deletes Vault's data, as a new volume would.
func (p *pod) empty() {
	must(p.rig.t, os.RemoveAll(p.rig.path(p.name+"/vault.db")))
	must(p.rig.t, os.RemoveAll(p.rig.path(p.name+"/raft")))
}

func (p *pod) stopVault() {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.vault != nil {
		_ = p.vault.Process.Kill()
		_ = p.vault.Wait()
		p.vault = nil
	}
}

// Annotations implements sidecar.Self.
func (p *pod) Annotations(context.Context) (map[string]string, error) { return nil, nil }

// Delete implements sidecar.Self: Vault is restarted.
func (p *pod) Delete(context.Context) error {
	p.stopVault()
	p.startVault()
	return nil
}

func (p *pod) client(t *testing.T) *vault.Client {
	t.Helper()
	c, err := vault.New(p.url(), p.rig.path("ca.crt"), "localhost")
	must(t, err)
	return c
}

func (p *pod) peers() map[string]*vault.Client {
	out := map[string]*vault.Client{}
	for _, peer := range p.rig.pods {
		if peer != p {
			out[peer.name] = peer.client(p.rig.t)
		}
	}
	return out
}

// startSidecar runs the sidecar's machine in the test's process.
func (p *pod) startSidecar() {
	r := p.rig
	r.t.Helper()
	log := slog.New(slog.NewJSONHandler(&p.log, nil))
	hcl, err := policies.Load("")
	must(r.t, err)
	dir, err := storage.Open(p.markers())
	must(r.t, err)
	own := p.client(r.t)
	ordinal := int(p.name[len(p.name)-1] - '0')
	s := sidecar.New(sidecar.Options{Pod: p.name, Ordinal: ordinal, Shares: 5, Threshold: 3, Vault: own, Peers: p.peers(), Ring: r.ring,
		Markers: dir, Self: p, Log: log,
		Provisioner: &provision.Provisioner{Vault: own, Ring: r.ring, Custody: r.store, Policies: hcl, Period: time.Hour, KeepRoot: true, Pod: p.name, Log: log}})
	ctx, cancel := context.WithCancel(context.WithoutCancel(r.t.Context()))
	p.cancel, p.ended = cancel, make(chan struct{})
	go func() {
		defer close(p.ended)
		defer s.Close()
		note := func(t machine.Turn) {
			p.mu.Lock()
			defer p.mu.Unlock()
			p.turn, p.ready = t, s.Ready()
		}
		machine.Run(ctx, s, time.Second, func(t machine.Turn) {
			if t.News {
				log.Info(string(t.Decision.State), "row", t.Decision.Name, "why", t.Decision.Text)
			}
			note(t)
		}, note)
	}()
}

func (p *pod) stopSidecar() {
	if p.cancel != nil {
		p.cancel()
		<-p.ended
		p.cancel = nil
	}
}

func (p *pod) state() (machine.Turn, bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.turn, p.ready
}

// await waits until the sidecar is in a row of one of the names.
func (p *pod) await(rows ...string) {
	p.rig.t.Helper()
	var last machine.Turn
	eventually(p.rig.t, fmt.Sprintf("%s in row %v", p.name, rows), func() error {
		last, _ = p.state()
		for _, row := range rows {
			if last.Decision.Name == row {
				return nil
			}
		}
		return fmt.Errorf("it is in %s: %s", last.Decision.Name, last.Decision.Text)
	})
}

func (p *pod) api(token string) *api.Client {
	c, err := api.NewClient(&api.Config{Address: p.url(), HttpClient: &http.Client{Timeout: 10 * time.Second,
		Transport: &http.Transport{TLSClientConfig: &tls.Config{RootCAs: p.rig.roots, ServerName: "localhost"}}}})
	must(p.rig.t, err)
	c.SetToken(token)
	return c
}

func (r *rig) secret(id string) string {
	r.t.Helper()
	s, err := r.store.Read(r.t.Context(), id)
	must(r.t, err)
	return string(s.Payload)
}

// active gives the pod whose Vault is active.
func (r *rig) active() (found *pod) {
	r.t.Helper()
	eventually(r.t, "an active Vault", func() error {
		for _, p := range r.pods {
			if l, err := p.api("").Sys().Leader(); err == nil && l.IsSelf {
				found = p
				return nil
			}
		}
		return errors.New("none is")
	})
	return found
}

// voters waits until raft has n voters, and names all its servers.
func (r *rig) voters(n int) (names []string) {
	r.t.Helper()
	eventually(r.t, fmt.Sprint(n, " voters"), func() error {
		s, err := r.active().api(r.secret(r.ring.Provisioner())).Logical().Read("sys/storage/raft/configuration")
		if err != nil {
			return err
		}
		names = nil
		voters := 0
		for _, one := range s.Data["config"].(map[string]any)["servers"].([]any) {
			m := one.(map[string]any)
			names = append(names, fmt.Sprint(m["node_id"]))
			if m["voter"] == true {
				voters++
			}
		}
		if voters != n {
			return fmt.Errorf("raft's servers are %v, of which %d vote", names, voters)
		}
		return nil
	})
	return names
}

func eventually(t *testing.T, what string, try func() error) {
	t.Helper()
	tick := time.NewTicker(25 * time.Millisecond)
	defer tick.Stop()
	var err error
	for end := time.Now().Add(settle); time.Now().Before(end); <-tick.C {
		if err = try(); err == nil {
			return
		}
	}
	t.Fatalf("no %s within %s: %v", what, settle, err)
}

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func freePort(t *testing.T) int {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	must(t, err)
	defer l.Close()
	return l.Addr().(*net.TCPAddr).Port
}

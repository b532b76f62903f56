package main

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/hashicorp/vault/api"
	"github.com/vaultproof/vaultproof/bootstrap/keys"
	"github.com/vaultproof/vaultproof/bootstrap/status"
	"github.com/vaultproof/vaultproof/deploy"
	"github.com/vaultproof/vaultproof/fixtures/secretmanager"
	"github.com/vaultproof/vaultproof/fixtures/secretmanager/secretmanagertest"
	"github.com/vaultproof/vaultproof/pkg/custody"
	"github.com/vaultproof/vaultproof/pkg/issuer"
	appsv1 "k8s.io/api/apps/v1"
	"sigs.k8s.io/yaml"
)

// rig is a Vault cluster of real processes on loopback, with a real custody
// server and TLS everywhere, but without Kubernetes.
type rig struct {
	t       *testing.T
	dir     string
	binary  string
	custody *secretmanagertest.Harness
	store   *custody.Client
	ring    *keys.Ring
	pods    []*pod
	http    *http.Client
	roots   *x509.CertPool
}

// pod is one Vault process and the sidecar beside it.
type pod struct {
	rig                    *rig
	name                   string
	vaultPort, clusterPort int
	statusPort             int
	mu                     sync.Mutex // of vault, which the kubelet's part restarts
	vault                  *exec.Cmd
	stop                   func() error // the sidecar
	log                    safeBuffer   // of the sidecar, all its lives
	extra                  []string     // flags
	rebuilds               atomic.Int32 // times that the storage was emptied
}

// vaultBinary finds a real Vault or skips the test.
func vaultBinary(t *testing.T) string {
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

func newRig(t *testing.T, n int) *rig {
	t.Helper()
	r := &rig{t: t, dir: t.TempDir(), binary: vaultBinary(t), custody: secretmanagertest.Start(t)}
	r.custody.Grant("vault", "vault", secretmanager.RoleAdmin, "vault-")
	r.store = r.custody.Client(r.custody.Config("vault", "vault"))
	r.ring = &keys.Ring{Store: r.store, Prefix: "vault", Shares: 5}
	ca, err := issuer.NewCA("test", time.Hour)
	must(t, err)
	pair, err := ca.Server("vault", []string{"localhost", "127.0.0.1"}, time.Hour)
	must(t, err)
	r.file("ca.crt", ca.PEM())
	r.file("tls.crt", pair.Cert)
	r.file("tls.key", pair.Key)
	r.file("custody-ca.crt", r.custody.CAPEM)
	r.file("token", []byte(r.custody.Token("vault", "vault")))
	r.roots = x509.NewCertPool()
	r.roots.AppendCertsFromPEM(ca.PEM())
	r.http = &http.Client{Timeout: 3 * time.Second, Transport: &http.Transport{TLSClientConfig: &tls.Config{RootCAs: r.roots, ServerName: "localhost"}}}
	for i := range n {
		r.pods = append(r.pods, &pod{rig: r, name: fmt.Sprintf("vault-%d", i), vaultPort: freePort(t), clusterPort: freePort(t), statusPort: freePort(t)})
	}
	for _, p := range r.pods {
		p.configure()
	}
	t.Cleanup(func() {
		for _, p := range r.pods {
			if p.stop != nil {
				if err := p.stop(); err != nil {
					t.Errorf("stopping the sidecar of %s: %v", p.name, err)
				}
			}
			p.killVault()
		}
		if t.Failed() {
			for _, p := range r.pods {
				t.Logf("sidecar of %s:\n%s", p.name, p.log.String())
				if raw, err := os.ReadFile(filepath.Join(r.dir, p.name+".log")); err == nil {
					t.Logf("end of the log of %s:\n%s", p.name, raw[max(0, len(raw)-3000):])
				}
			}
		}
	})
	return r
}

func (r *rig) file(name string, content []byte) string {
	p := filepath.Join(r.dir, name)
	must(r.t, os.WriteFile(p, content, 0o600))
	return p
}

func (r *rig) path(name string) string { return filepath.Join(r.dir, name) }

func (p *pod) configure() {
	r := p.rig
	must(r.t, os.MkdirAll(p.markers(), 0o700))
	must(r.t, os.MkdirAll(r.path(p.name+".d"), 0o700))
	var joins strings.Builder
	for _, peer := range r.pods {
		fmt.Fprintf(&joins, "  retry_join {\n    leader_api_addr = %q\n    leader_ca_cert_file = %q\n    leader_tls_servername = \"localhost\"\n  }\n", peer.url(), r.path("ca.crt"))
	}
	r.file(p.name+".hcl", fmt.Appendf(nil, `disable_mlock = true
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
`, p.url(), p.clusterPort, p.vaultPort, p.clusterPort, r.path("tls.crt"), r.path("tls.key"), r.path(p.name), p.name, joins.String()))
}

// data is the volume of Vault's data.
func (p *pod) data() string { return p.rig.path(p.name) }

// markers is the folder of the volume that the sidecar mounts.
func (p *pod) markers() string { return filepath.Join(p.data(), "bootstrap") }

func (p *pod) url() string { return fmt.Sprintf("https://127.0.0.1:%d", p.vaultPort) }

// startVault runs what the StatefulSet runs in Vault's container.
func (p *pod) startVault() {
	p.rig.t.Helper()
	p.mu.Lock()
	defer p.mu.Unlock()
	log, err := os.OpenFile(p.rig.path(p.name+".log"), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	must(p.rig.t, err)
	defer log.Close()
	p.vault = exec.Command("/bin/sh", "-c", p.rig.startCommand(p))
	p.vault.Stdout, p.vault.Stderr = log, log
	p.vault.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	must(p.rig.t, p.vault.Start())
}

// startCommand is the shell command of Vault's container in the StatefulSet,
// with the paths of this rig.
func (r *rig) startCommand(p *pod) string {
	r.t.Helper()
	raw, err := deploy.FS.ReadFile("vault/base/statefulset.yaml")
	must(r.t, err)
	var set appsv1.StatefulSet
	must(r.t, yaml.Unmarshal(raw, &set))
	command := set.Spec.Template.Spec.Containers[0].Command
	if len(command) != 3 || command[0] != "/bin/sh" || command[1] != "-c" {
		r.t.Fatalf("Vault's container is started by %q, want a shell command", command)
	}
	for path, here := range map[string]string{"/vault/data": p.data(), "/bin/vault ": r.binary + " ", "/vault/config/vault.hcl": r.path(p.name + ".hcl")} {
		if !strings.Contains(command[2], path) {
			r.t.Fatalf("the start command of Vault's container has no %s", path)
		}
		command[2] = strings.ReplaceAll(command[2], path, here)
	}
	return command[2]
}

func (p *pod) killVault() {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.vault != nil {
		_ = p.vault.Process.Kill()
		_ = p.vault.Wait()
		p.vault = nil
	}
}

// kubelet restarts Vault's container whenever the storage is to be emptied, as
// the deletion of the pod would, until the test ends.
func (p *pod) kubelet() {
	stop, done := make(chan struct{}), make(chan struct{})
	p.rig.t.Cleanup(func() { close(stop); <-done })
	go func() {
		defer close(done)
		tick := time.NewTicker(25 * time.Millisecond)
		defer tick.Stop()
		for {
			select {
			case <-stop:
				return
			case <-tick.C:
			}
			if _, err := os.Stat(filepath.Join(p.markers(), "rebuild")); err == nil {
				p.killVault()
				p.startVault()
				p.rebuilds.Add(1)
				eventually(settle, func() bool {
					_, err := os.Stat(filepath.Join(p.markers(), "rebuild"))
					return errors.Is(err, os.ErrNotExist)
				})
			}
		}
	}()
}

func (p *pod) args() []string {
	r := p.rig
	return append([]string{"-vault-addr", p.url(), "-vault-ca", r.path("ca.crt"), "-pod-name", p.name,
		"-custody-endpoint", r.custody.Endpoint, "-custody-project", secretmanagertest.Project,
		"-custody-audience", secretmanagertest.Audience, "-custody-ca", r.path("custody-ca.crt"), "-custody-token-file", r.path("token"),
		"-listen", fmt.Sprintf("127.0.0.1:%d", p.statusPort), "-tls-cert", r.path("tls.crt"), "-tls-key", r.path("tls.key"),
		"-handover-done", r.path(p.name + ".d/done"), "-storage-dir", p.markers(), "-keep-root-token", "-log-level", "debug", "-shed-after", "0s"}, p.extra...)
}

// startSidecar runs the sidecar in the test's process, as main would.
func (p *pod) startSidecar() {
	ctx, cancel := context.WithCancel(context.WithoutCancel(p.rig.t.Context()))
	done := make(chan error, 1)
	go func() { done <- run(ctx, p.args(), &p.log) }()
	p.stop = func() error {
		p.stop = nil
		cancel()
		select {
		case err := <-done:
			return err
		case <-time.After(5 * time.Second):
			return fmt.Errorf("it did not end within 5 s")
		}
	}
}

func (p *pod) status() (s status.Status, err error) {
	resp, err := p.rig.http.Get(fmt.Sprintf("https://127.0.0.1:%d/status", p.statusPort))
	if err != nil {
		return s, err
	}
	defer resp.Body.Close()
	return s, json.NewDecoder(resp.Body).Decode(&s)
}

// client speaks to the pod's Vault with a token.
func (p *pod) client(token string) *api.Client {
	c, err := api.NewClient(&api.Config{Address: p.url(), HttpClient: &http.Client{Timeout: 10 * time.Second,
		Transport: &http.Transport{TLSClientConfig: &tls.Config{RootCAs: p.rig.roots, ServerName: "localhost"}}}})
	must(p.rig.t, err)
	c.SetToken(token)
	return c
}

// await polls until the status of the pod fits, and tells what it was if not.
func (p *pod) await(what string, within time.Duration, fits func(status.Status) bool) status.Status {
	p.rig.t.Helper()
	var s status.Status
	var err error
	if !eventually(within, func() bool { s, err = p.status(); return err == nil && fits(s) }) {
		p.rig.t.Fatalf("%s: not %s within %s; status %+v, error %v", p.name, what, within, s, err)
	}
	return s
}

func (r *rig) active() *pod {
	r.t.Helper()
	var found *pod
	if !eventually(20*time.Second, func() bool {
		for _, p := range r.pods {
			if l, err := p.client("").Sys().Leader(); err == nil && l.IsSelf {
				found = p
				return true
			}
		}
		return false
	}) {
		r.t.Fatal("no Vault is active")
	}
	return found
}

// voters names the voters that the active Vault's raft knows.
func (r *rig) voters() (names []string) {
	s, err := r.active().client(r.secret(r.ring.Root())).Logical().Read("sys/storage/raft/configuration")
	if err != nil {
		return nil
	}
	for _, one := range s.Data["config"].(map[string]any)["servers"].([]any) {
		if m := one.(map[string]any); m["voter"] == true {
			names = append(names, fmt.Sprint(m["node_id"]))
		}
	}
	return names
}

// secret reads a secret of custody as the test.
func (r *rig) secret(id string) string {
	r.t.Helper()
	s, err := r.store.Read(r.t.Context(), id)
	must(r.t, err)
	return string(s.Payload)
}

// versions counts all versions of all secrets.
func (r *rig) versions() map[string]int {
	r.t.Helper()
	ids, err := r.store.List(r.t.Context())
	must(r.t, err)
	out := map[string]int{}
	for _, id := range ids {
		v, err := r.store.Versions(r.t.Context(), id)
		must(r.t, err)
		out[id] = len(v)
	}
	return out
}

func eventually(within time.Duration, ok func() bool) bool {
	tick := time.NewTicker(25 * time.Millisecond)
	defer tick.Stop()
	for end := time.Now().Add(within); time.Now().Before(end); <-tick.C {
		if ok() {
			return true
		}
	}
	return ok()
}

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// ports that were handed out; tests that run at the same time must not share one.
var ports sync.Map

func freePort(t *testing.T) int {
	t.Helper()
	for {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		must(t, err)
		port := l.Addr().(*net.TCPAddr).Port
		must(t, l.Close())
		if _, taken := ports.LoadOrStore(port, true); !taken {
			return port
		}
	}
}

type safeBuffer struct {
	mu  sync.Mutex
	buf bytes.Buffer
}

func (b *safeBuffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.buf.Write(p)
}

func (b *safeBuffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.buf.String()
}

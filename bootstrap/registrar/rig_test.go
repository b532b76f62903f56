package registrar_test

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/hashicorp/vault/api"

	"github.com/vaultproof/vaultproof/bootstrap/fence"
	"github.com/vaultproof/vaultproof/bootstrap/kube"
	"github.com/vaultproof/vaultproof/bootstrap/podtls"
	"github.com/vaultproof/vaultproof/bootstrap/registrar"
	"github.com/vaultproof/vaultproof/bootstrap/status"
	"github.com/vaultproof/vaultproof/bootstrap/vault"
	"github.com/vaultproof/vaultproof/pkg/issuer"
)

const (
	podName = "vault-0"
	pace    = 5 * time.Millisecond // of looking
)

// rig is one real Vault, the registrar and the fence beside it, and an API server.
type rig struct {
	t                        *testing.T
	dir, binary              string
	vaultPort, registrarPort int
	api                      *apiServer
	client                   *api.Client
	memory                   *registrar.Memory
	stop                     func()
	mu                       sync.Mutex
	log                      bytes.Buffer // of the sidecar
	process                  *exec.Cmd
	ended                    chan struct{}
}

func newRig(t *testing.T) *rig {
	t.Helper()
	r := &rig{t: t, dir: t.TempDir(), binary: vaultBinary(t), vaultPort: freePort(t), registrarPort: freePort(t)}
	ca, err := issuer.NewCA("test", time.Hour)
	must(t, err)
	pair, err := ca.Server("vault", []string{"localhost", "127.0.0.1"}, time.Hour)
	must(t, err)
	r.api = newAPIServer(t, filepath.Join(r.dir, "kube"))
	// What Vault's container has: the stack's own CA, and a token that is none.
	for name, content := range map[string][]byte{"ca.crt": ca.PEM(), "tls.crt": pair.Cert, "tls.key": pair.Key, "token": []byte(podName)} {
		must(t, os.WriteFile(filepath.Join(r.dir, name), content, 0o600))
	}
	r.configure()
	roots := x509.NewCertPool()
	roots.AppendCertsFromPEM(ca.PEM())
	r.client, err = api.NewClient(&api.Config{Address: r.url(), HttpClient: &http.Client{Timeout: 20 * time.Second,
		Transport: &http.Transport{TLSClientConfig: &tls.Config{RootCAs: roots, ServerName: "localhost"}}}})
	must(t, err)
	t.Cleanup(func() {
		r.killVault()
		r.stopSidecar()
		if t.Failed() {
			raw, _ := os.ReadFile(filepath.Join(r.dir, "vault.log"))
			t.Logf("sidecar:\n%s\nend of Vault's log:\n%s", r.log.String(), raw[max(0, len(raw)-4000):])
		}
	})
	return r
}

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

func (r *rig) url() string { return fmt.Sprintf("https://127.0.0.1:%d", r.vaultPort) }

func (r *rig) configure() {
	data := filepath.Join(r.dir, "data")
	must(r.t, os.MkdirAll(data, 0o700))
	hcl := fmt.Sprintf(`disable_mlock = true
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
}
service_registration "kubernetes" {}
`, r.url(), freePort(r.t), r.vaultPort, freePort(r.t), filepath.Join(r.dir, "tls.crt"), filepath.Join(r.dir, "tls.key"), data, podName)
	must(r.t, os.WriteFile(filepath.Join(r.dir, "vault.hcl"), []byte(hcl), 0o600))
}

// inContainer puts the CA and the token where Vault's registration looks, at a
// fixed path, in a mount namespace of its own. Exit code 77 means that this
// machine does not let us.
const inContainer = `set -e
mount -t tmpfs none /var/run || exit 77
at=/var/run/secrets/kubernetes.io/serviceaccount
mkdir -p $at && cp "$1/ca.crt" "$1/token" $at
exec "$2" server -config="$1/vault.hcl"`

// startVault runs Vault as its container would.
func (r *rig) startVault() {
	r.t.Helper()
	log, err := os.OpenFile(filepath.Join(r.dir, "vault.log"), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	must(r.t, err)
	defer log.Close()
	c := exec.Command("/bin/sh", "-c", inContainer, "sh", r.dir, r.binary)
	c.Stdout, c.Stderr = log, log
	c.Env = append(os.Environ(), "KUBERNETES_SERVICE_HOST=127.0.0.1", fmt.Sprintf("KUBERNETES_SERVICE_PORT=%d", r.registrarPort),
		"VAULT_K8S_NAMESPACE=vault", "VAULT_K8S_POD_NAME="+podName)
	c.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL, Cloneflags: syscall.CLONE_NEWNS}
	if os.Getuid() != 0 {
		c.SysProcAttr.Cloneflags |= syscall.CLONE_NEWUSER
		c.SysProcAttr.UidMappings = []syscall.SysProcIDMap{{ContainerID: 0, HostID: os.Getuid(), Size: 1}}
		c.SysProcAttr.GidMappings = []syscall.SysProcIDMap{{ContainerID: 0, HostID: os.Getgid(), Size: 1}}
	}
	if err := c.Start(); err != nil {
		r.t.Skipf("no mount namespace on this machine, so Vault's registration finds no files: %v", err)
	}
	ended := make(chan struct{})
	r.process, r.ended = c, ended
	go func() {
		defer close(ended)
		_ = c.Wait() // it is killed in most tests
	}()
	select {
	case <-ended:
		if c.ProcessState.ExitCode() == 77 {
			r.t.Skip("no mounting in a namespace on this machine, so Vault's registration finds no files")
		}
	case <-time.After(200 * time.Millisecond):
	}
}

func (r *rig) killVault() {
	if r.process != nil {
		_ = r.process.Process.Kill()
		<-r.ended
		r.process = nil
	}
}

// stopVault stops it as the kubelet does, and tells how long that took.
func (r *rig) stopVault() time.Duration {
	r.t.Helper()
	began := time.Now()
	must(r.t, r.process.Process.Signal(syscall.SIGTERM))
	select {
	case <-r.ended:
	case <-time.After(30 * time.Second):
		r.t.Fatal("Vault did not end within 30 s")
	}
	r.process = nil
	return time.Since(began)
}

// Write takes the sidecar's log.
func (r *rig) Write(p []byte) (int, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.log.Write(p)
}

// startSidecar starts the parts of it that labels need.
func (r *rig) startSidecar() {
	r.t.Helper()
	log := slog.New(slog.NewTextHandler(r, &slog.HandlerOptions{Level: slog.LevelDebug}))
	own, err := vault.New(r.url(), filepath.Join(r.dir, "ca.crt"), "localhost")
	must(r.t, err)
	client, err := kube.New(r.api.config())
	must(r.t, err)
	r.memory = registrar.NewMemory()
	s := &registrar.Server{Namespace: client.Namespace(), Pod: podName, Memory: r.memory, Log: log}
	f, err := fence.New(fence.Options{Pod: podName, Pods: []string{podName}, Kube: client, Self: own, Registration: r.memory,
		Board: status.NewBoard(podName), Log: log})
	must(r.t, err)
	ctx, cancel := context.WithCancel(context.WithoutCancel(r.t.Context()))
	var wg sync.WaitGroup
	wg.Go(func() { f.Run(ctx) })
	wg.Go(func() {
		if err := (podtls.Server{Address: fmt.Sprintf("127.0.0.1:%d", r.registrarPort), CertFile: filepath.Join(r.dir, "tls.crt"),
			KeyFile: filepath.Join(r.dir, "tls.key"), What: "Vault's service registration", Flag: "-registrar-listen", Log: log}).Serve(ctx, s); err != nil {
			r.t.Error(err)
		}
	})
	r.stop = func() { cancel(); wg.Wait(); r.stop = nil }
}

func (r *rig) stopSidecar() {
	if r.stop != nil {
		r.stop()
	}
}

// asking bounds one question: a Vault that has not started takes connections and
// leaves them alone.
func (r *rig) asking() (context.Context, context.CancelFunc) {
	return context.WithTimeout(context.WithoutCancel(r.t.Context()), time.Second)
}

func (r *rig) answers() bool {
	ctx, cancel := r.asking()
	defer cancel()
	_, err := r.client.Sys().SealStatusWithContext(ctx)
	return err == nil
}

func (r *rig) active() bool {
	ctx, cancel := r.asking()
	defer cancel()
	l, err := r.client.Sys().LeaderWithContext(ctx)
	return err == nil && l.IsSelf
}

func (r *rig) await(what string, within time.Duration, ok func() bool) {
	r.t.Helper()
	ctx, cancel := context.WithTimeout(r.t.Context(), within)
	defer cancel()
	if !eventually(ctx, ok) {
		r.t.Fatalf("not within %s: %s; labels %v, said %+v", within, what, r.api.labels(), r.memory.Said())
	}
}

func eventually(ctx context.Context, ok func() bool) bool {
	tick := time.NewTicker(pace)
	defer tick.Stop()
	for !ok() {
		select {
		case <-tick.C:
		case <-ctx.Done():
			return false
		}
	}
	return true
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

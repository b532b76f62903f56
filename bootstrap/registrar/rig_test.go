package registrar_test

import (
	"context"
	"fmt"
	"log/slog"
	"os"
	"os/exec"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/hashicorp/vault/api"

	"github.com/vaultproof/vaultproof/bootstrap/fence"
	"github.com/vaultproof/vaultproof/bootstrap/internal/realvault"
	"github.com/vaultproof/vaultproof/bootstrap/kube"
	"github.com/vaultproof/vaultproof/bootstrap/podtls"
	"github.com/vaultproof/vaultproof/bootstrap/registrar"
	"github.com/vaultproof/vaultproof/bootstrap/status"
	"github.com/vaultproof/vaultproof/bootstrap/vault"
)

const (
	podName = "vault-0"
	pace    = 5 * time.Millisecond // of looking
)

var must = realvault.Must

// rig is one real Vault, the registrar and the fence beside it, and an API server.
type rig struct {
	*realvault.Ground
	vault         *realvault.Vault
	registrarPort int
	api           *apiServer
	client        *api.Client
	memory        *registrar.Memory
	stop          func()
	log           realvault.Log // of the sidecar
}

func newRig(t *testing.T) *rig {
	t.Helper()
	r := &rig{Ground: realvault.New(t), registrarPort: realvault.Port(t)}
	r.api = newAPIServer(t, r.Path("kube"))
	// Beside the stack's own CA, what Vault's container has: a token that is none.
	r.File("token", []byte(podName))
	r.vault = r.Vault(podName)
	r.vault.Configure(`service_registration "kubernetes" {}`)
	r.client = r.vault.Client("")
	t.Cleanup(func() {
		r.vault.Kill()
		r.stopSidecar()
		if t.Failed() {
			t.Logf("sidecar:\n%s\nend of Vault's log:\n%s", r.log.String(), r.vault.Tail())
		}
	})
	return r
}

// inContainer puts the CA and the token where Vault's registration looks, at a
// fixed path, in a mount namespace of its own. Exit code 77 means that this
// machine does not let us.
const inContainer = `set -e
mount -t tmpfs none /var/run || exit 77
at=/var/run/secrets/kubernetes.io/serviceaccount
mkdir -p $at && cp "$1/ca.crt" "$1/token" $at
exec "$2" server -config="$3"`

// startVault runs Vault as its container would.
func (r *rig) startVault() {
	r.T.Helper()
	c := exec.Command("/bin/sh", "-c", inContainer, "sh", r.Dir, r.vault.Binary(), r.vault.Config())
	c.Env = append(os.Environ(), "KUBERNETES_SERVICE_HOST=127.0.0.1", fmt.Sprintf("KUBERNETES_SERVICE_PORT=%d", r.registrarPort),
		"VAULT_K8S_NAMESPACE=vault", "VAULT_K8S_POD_NAME="+podName)
	c.SysProcAttr = &syscall.SysProcAttr{Cloneflags: syscall.CLONE_NEWNS}
	if os.Getuid() != 0 {
		c.SysProcAttr.Cloneflags |= syscall.CLONE_NEWUSER
		c.SysProcAttr.UidMappings = []syscall.SysProcIDMap{{ContainerID: 0, HostID: os.Getuid(), Size: 1}}
		c.SysProcAttr.GidMappings = []syscall.SysProcIDMap{{ContainerID: 0, HostID: os.Getgid(), Size: 1}}
	}
	if err := r.vault.Run(c); err != nil {
		r.T.Skipf("no mount namespace on this machine, so Vault's registration finds no files: %v", err)
	}
	if code, ended := r.vault.ExitCode(200 * time.Millisecond); ended && code == 77 {
		r.T.Skip("no mounting in a namespace on this machine, so Vault's registration finds no files")
	}
}

// stopVault stops it as the kubelet does, and tells how long that took.
func (r *rig) stopVault() time.Duration {
	r.T.Helper()
	began := time.Now()
	select {
	case <-r.vault.Terminate():
	case <-time.After(30 * time.Second):
		r.T.Fatal("Vault did not end within 30 s")
	}
	return time.Since(began)
}

// startSidecar starts the parts of it that labels need.
func (r *rig) startSidecar() {
	r.T.Helper()
	log := slog.New(slog.NewTextHandler(&r.log, &slog.HandlerOptions{Level: slog.LevelDebug}))
	own, err := vault.New(r.vault.URL(), r.Path("ca.crt"), "localhost")
	must(r.T, err)
	client, err := kube.New(r.api.config())
	must(r.T, err)
	r.memory = registrar.NewMemory()
	s := &registrar.Server{Namespace: client.Namespace(), Pod: podName, Memory: r.memory, Log: log}
	f, err := fence.New(fence.Options{Pod: podName, Pods: []string{podName}, Kube: client, Self: own, Registration: r.memory,
		Board: status.NewBoard(podName), Log: log})
	must(r.T, err)
	ctx, cancel := context.WithCancel(context.WithoutCancel(r.T.Context()))
	var wg sync.WaitGroup
	wg.Go(func() { f.Run(ctx) })
	wg.Go(func() {
		if err := (podtls.Server{Address: fmt.Sprintf("127.0.0.1:%d", r.registrarPort), CertFile: r.Path("tls.crt"),
			KeyFile: r.Path("tls.key"), What: "Vault's service registration", Flag: "-registrar-listen", Log: log}).Serve(ctx, s); err != nil {
			r.T.Error(err)
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
	return context.WithTimeout(context.WithoutCancel(r.T.Context()), time.Second)
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
	r.T.Helper()
	ctx, cancel := context.WithTimeout(r.T.Context(), within)
	defer cancel()
	if !eventually(ctx, ok) {
		r.T.Fatalf("not within %s: %s; labels %v, said %+v", within, what, r.api.labels(), r.memory.Said())
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

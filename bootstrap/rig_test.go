package main

import (
	"context"
	"crypto/tls"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	appsv1 "k8s.io/api/apps/v1"
	"sigs.k8s.io/yaml"

	"github.com/vaultproof/vaultproof/bootstrap/internal/realvault"
	"github.com/vaultproof/vaultproof/bootstrap/status"
	"github.com/vaultproof/vaultproof/deploy"
	"github.com/vaultproof/vaultproof/fixtures/secretmanager/secretmanagertest"
)

var must = realvault.Must

// rig is a Vault cluster of real processes on loopback, with a real custody
// server and TLS everywhere, but without Kubernetes.
type rig struct {
	*realvault.Ground
	*realvault.Custody
	pods []*pod
	http *http.Client
}

// pod is one Vault process and the sidecar beside it.
type pod struct {
	*realvault.Vault
	rig        *rig
	statusPort int
	stop       func() error  // the sidecar
	log        realvault.Log // of the sidecar, all its lives
	extra      []string      // flags
	rebuilds   atomic.Int32  // times that the storage was emptied
}

func newRig(t *testing.T, n int) *rig {
	t.Helper()
	ground := realvault.New(t)
	r := &rig{Ground: ground, Custody: ground.Custody(), http: &http.Client{Timeout: 3 * time.Second,
		Transport: &http.Transport{TLSClientConfig: &tls.Config{RootCAs: ground.Roots, ServerName: "localhost"}}}}
	for _, v := range r.Vaults(n) {
		p := &pod{Vault: v, rig: r, statusPort: realvault.Port(t)}
		must(t, os.MkdirAll(p.markers(), 0o700))
		must(t, os.MkdirAll(r.Path(p.Name+".d"), 0o700))
		must(t, os.MkdirAll(r.Path("audit"), 0o700))
		r.pods = append(r.pods, p)
	}
	t.Cleanup(func() {
		for _, p := range r.pods {
			if p.stop != nil {
				if err := p.stop(); err != nil {
					t.Errorf("stopping the sidecar of %s: %v", p.Name, err)
				}
			}
			p.Kill()
		}
		if t.Failed() {
			for _, p := range r.pods {
				t.Logf("sidecar of %s:\n%s\nend of the log of %s:\n%s", p.Name, p.log.String(), p.Name, p.Tail())
			}
		}
	})
	return r
}

// markers is the folder of the volume that the sidecar mounts.
func (p *pod) markers() string { return filepath.Join(p.Data(), "bootstrap") }

// startVault runs what the StatefulSet runs in Vault's container.
func (p *pod) startVault() {
	p.rig.T.Helper()
	must(p.rig.T, p.Run(exec.Command("/bin/sh", "-c", p.startCommand())))
}

// startCommand is the shell command of Vault's container in the StatefulSet,
// with the paths of this rig.
func (p *pod) startCommand() string {
	r := p.rig
	r.T.Helper()
	raw, err := deploy.FS.ReadFile("vault/base/statefulset.yaml")
	must(r.T, err)
	var set appsv1.StatefulSet
	must(r.T, yaml.Unmarshal(raw, &set))
	command := set.Spec.Template.Spec.Containers[0].Command
	if len(command) != 3 || command[0] != "/bin/sh" || command[1] != "-c" {
		r.T.Fatalf("Vault's container is started by %q, want a shell command", command)
	}
	for path, here := range map[string]string{"/vault/data": p.Data(), "/vault/tls": r.Dir, "/vault/audit": r.Path("audit"),
		"/bin/vault ": p.Binary() + " ", "/vault/config/vault.hcl": p.Config()} {
		if !strings.Contains(command[2], path) {
			r.T.Fatalf("the start command of Vault's container has no %s", path)
		}
		command[2] = strings.ReplaceAll(command[2], path, here)
	}
	return command[2]
}

// kubelet restarts Vault's container whenever the storage is to be emptied, as
// the deletion of the pod would, until the test ends.
func (p *pod) kubelet() {
	stop, done := make(chan struct{}), make(chan struct{})
	p.rig.T.Cleanup(func() { close(stop); <-done })
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
				p.Kill()
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
	return append([]string{"-vault-addr", p.URL(), "-vault-ca", r.Path("ca.crt"), "-pod-name", p.Name,
		"-custody-endpoint", r.Custody.Endpoint, "-custody-project", secretmanagertest.Project,
		"-custody-audience", secretmanagertest.Audience, "-custody-ca", r.Path("custody-ca.crt"), "-custody-token-file", r.Path("token"),
		"-listen", fmt.Sprintf("127.0.0.1:%d", p.statusPort), "-tls-cert", r.Path("tls.crt"), "-tls-key", r.Path("tls.key"),
		"-handover-done", r.Path(p.Name + ".d/done"), "-storage-dir", p.markers(), "-keep-root-token", "-log-level", "debug", "-shed-after", "0s"}, p.extra...)
}

// startSidecar runs the sidecar in the test's process, as main would.
func (p *pod) startSidecar() {
	ctx, cancel := context.WithCancel(context.WithoutCancel(p.rig.T.Context()))
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

// readyz is what the kubelet gets from the readiness probe.
func (p *pod) readyz() int {
	p.rig.T.Helper()
	resp, err := p.rig.http.Get(fmt.Sprintf("https://127.0.0.1:%d/readyz", p.statusPort))
	must(p.rig.T, err)
	must(p.rig.T, resp.Body.Close())
	return resp.StatusCode
}

// await polls until the status of the pod fits, and tells what it was if not.
func (p *pod) await(what string, within time.Duration, fits func(status.Status) bool) status.Status {
	p.rig.T.Helper()
	var s status.Status
	var err error
	if !eventually(within, func() bool { s, err = p.status(); return err == nil && fits(s) }) {
		p.rig.T.Fatalf("%s: not %s within %s; status %+v, error %v", p.Name, what, within, s, err)
	}
	return s
}

func (r *rig) active() *pod {
	r.T.Helper()
	var found *pod
	if !eventually(20*time.Second, func() bool {
		for _, p := range r.pods {
			if p.Active() {
				found = p
				return true
			}
		}
		return false
	}) {
		r.T.Fatal("no Vault is active")
	}
	return found
}

// voters names the voters that the active Vault's raft knows.
func (r *rig) voters() []string {
	_, voters, _ := r.active().Raft(r.secret(r.Ring.Root())) // none until it answers
	return voters
}

// secret reads a secret of custody as the test.
func (r *rig) secret(id string) string {
	r.T.Helper()
	return r.Secret(r.T, id)
}

// versions counts all versions of all secrets.
func (r *rig) versions() map[string]int {
	r.T.Helper()
	ids, err := r.Store.List(r.T.Context())
	must(r.T, err)
	out := map[string]int{}
	for _, id := range ids {
		v, err := r.Store.Versions(r.T.Context(), id)
		must(r.T, err)
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

package stack

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/hashicorp/vault/api"
	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"

	"github.com/vaultproof/vaultproof/pkg/issuer"
)

// volume writes files as the kubelet does: a folder of its own for each content, and one
// symbolic link that is replaced in a single step.
type volume struct {
	t    *testing.T
	dir  string
	next int
}

func (v *volume) write(files map[string][]byte) {
	v.t.Helper()
	v.next++
	name := fmt.Sprintf("..%d", v.next)
	must := func(err error) {
		v.t.Helper()
		if err != nil {
			v.t.Fatal(err)
		}
	}
	must(os.MkdirAll(filepath.Join(v.dir, name), 0o755))
	for file, content := range files {
		must(os.WriteFile(filepath.Join(v.dir, name, file), content, 0o600))
		if v.next == 1 {
			must(os.Symlink(filepath.Join("..data", file), filepath.Join(v.dir, file)))
		}
	}
	fresh := filepath.Join(v.dir, "..data_tmp")
	must(os.Symlink(name, fresh))
	must(os.Rename(fresh, filepath.Join(v.dir, "..data")))
}

// podVault is Vault's container, run here with the command and the configuration of the
// manifests.
type podVault struct {
	t       *testing.T
	address string
	ca      *issuer.CA
	tls     *volume
	cmd     *exec.Cmd
	ended   chan struct{}
}

// startPodVault starts it, after change was made to the command, and ends it with the test.
func startPodVault(t *testing.T, change ...func(*exec.Cmd)) *podVault {
	t.Helper()
	binary := os.Getenv("VAULT_BINARY")
	if binary == "" {
		var err error
		if binary, err = exec.LookPath("vault"); err != nil {
			t.Skip("no vault binary: set VAULT_BINARY, or put one into PATH")
		}
	}
	dir := t.TempDir()
	ca, err := issuer.NewCA("test", day)
	if err != nil {
		t.Fatal(err)
	}
	p := &podVault{t: t, ca: ca, tls: &volume{t: t, dir: filepath.Join(dir, "tls")}, ended: make(chan struct{})}
	p.rotate()
	for _, name := range []string{"data", "config", "audit"} {
		if err := os.MkdirAll(filepath.Join(dir, name), 0o700); err != nil {
			t.Fatal(err)
		}
	}
	p.address = "127.0.0.1:" + port(t)
	objects := rendered(t)
	config := typed(t, objects, "ConfigMap", configMap, &corev1.ConfigMap{}).Data["vault.hcl"]
	// Alone, and outside of Kubernetes.
	config = regexp.MustCompile(`(?ms)^  retry_join \{.*?^  \}\n`).ReplaceAllString(config, "")
	config = strings.NewReplacer(`service_registration "kubernetes" {}`, "", "0.0.0.0:8200", p.address, "0.0.0.0:8201", "127.0.0.1:"+port(t), "/vault/", dir+"/").Replace(config)
	if err := os.WriteFile(filepath.Join(dir, "config", "vault.hcl"), []byte(config), 0o600); err != nil {
		t.Fatal(err)
	}
	command := vaultCommand(t, typed(t, objects, "StatefulSet", statefulSetName, &appsv1.StatefulSet{}).Spec.Template.Spec)
	script := strings.NewReplacer("/vault/", dir+"/", "/bin/vault", binary).Replace(command[2])
	p.cmd = exec.Command(command[0], command[1], script)
	p.cmd.Env = append(os.Environ(), "VAULT_RAFT_NODE_ID=vault-0", "VAULT_API_ADDR=https://"+p.address, "VAULT_CLUSTER_ADDR=https://127.0.0.1:"+port(t))
	// A group of its own, which ends as a container does: all at once.
	p.cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL, Setpgid: true}
	for _, c := range change {
		c(p.cmd)
	}
	log, err := os.Create(filepath.Join(dir, "log"))
	if err != nil {
		t.Fatal(err)
	}
	p.cmd.Stdout, p.cmd.Stderr = log, log
	err = p.cmd.Start()
	if errors.Is(err, syscall.EPERM) && p.cmd.SysProcAttr.Cloneflags != 0 {
		t.Skipf("no namespaces on this machine: %v", err)
	}
	if err != nil {
		t.Fatal(err)
	}
	go func() {
		_ = p.cmd.Wait()
		close(p.ended)
	}()
	t.Cleanup(func() {
		_ = syscall.Kill(-p.cmd.Process.Pid, syscall.SIGKILL)
		<-p.ended
		if t.Failed() {
			text, _ := os.ReadFile(log.Name())
			t.Logf("the container says:\n%s", text)
		}
	})
	return p
}

// audit is Vault's audit file.
func (p *podVault) audit() string {
	return filepath.Join(filepath.Dir(p.tls.dir), "audit", "audit.log")
}

// vaultCommand is the shell and the script that Vault's container starts with, as they
// come out of the kubelet: it takes "$$" in a command for an escaped "$".
func vaultCommand(t *testing.T, pod corev1.PodSpec) []string {
	t.Helper()
	for _, c := range pod.Containers {
		if c.Name == "vault" && len(c.Command) == 3 && c.Command[1] == "-c" {
			command := slices.Clone(c.Command)
			for i := range command {
				command[i] = strings.ReplaceAll(command[i], "$$", "$")
			}
			return command
		}
	}
	t.Fatal("Vault's container does not start with a script")
	return nil
}

func port(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	_, p, _ := net.SplitHostPort(l.Addr().String())
	return p
}

// rotate replaces the certificate, as a renewed Secret does, and returns its serial number.
func (p *podVault) rotate() string {
	p.t.Helper()
	pair, err := p.ca.Server("vault", []string{"127.0.0.1", "localhost"}, time.Hour)
	if err != nil {
		p.t.Fatal(err)
	}
	leaf, err := issuer.Leaf(pair.Cert)
	if err != nil {
		p.t.Fatal(err)
	}
	p.tls.write(map[string][]byte{"tls.crt": pair.Cert, "tls.key": pair.Key, "ca.crt": pair.CA})
	return leaf.SerialNumber.String()
}

func (p *podVault) trust() *tls.Config {
	roots := x509.NewCertPool()
	roots.AppendCertsFromPEM(p.ca.PEM())
	return &tls.Config{RootCAs: roots}
}

// served is the serial number that a new connection sees; empty if there is none.
func (p *podVault) served(ctx context.Context) string {
	conn, err := (&tls.Dialer{Config: p.trust()}).DialContext(ctx, "tcp", p.address)
	if err != nil {
		return ""
	}
	defer conn.Close()
	return conn.(*tls.Conn).ConnectionState().PeerCertificates[0].SerialNumber.String()
}

func (p *podVault) awaitServed(want string, within time.Duration) bool {
	ctx, cancel := context.WithTimeout(p.t.Context(), within)
	defer cancel()
	for p.served(ctx) != want {
		select {
		case <-time.After(20 * time.Millisecond):
		case <-ctx.Done():
			return false
		case <-p.ended:
			p.t.Fatal("the container ended")
		}
	}
	return true
}

// open initialises and unseals, and returns a root token.
func (p *podVault) open() string {
	p.t.Helper()
	client, err := api.NewClient(&api.Config{Address: "https://" + p.address, HttpClient: &http.Client{Transport: &http.Transport{TLSClientConfig: p.trust()}}})
	if err != nil {
		p.t.Fatal(err)
	}
	keys, err := client.Sys().Init(&api.InitRequest{SecretShares: 1, SecretThreshold: 1})
	if err != nil {
		p.t.Fatal(err)
	}
	if _, err := client.Sys().Unseal(keys.KeysB64[0]); err != nil {
		p.t.Fatal(err)
	}
	client.SetToken(keys.RootToken)
	ctx, cancel := context.WithTimeout(p.t.Context(), time.Minute)
	defer cancel()
	for {
		// SIGHUP also makes Vault open its audit file anew.
		err := client.Sys().EnableAuditWithOptions("file", &api.EnableAuditOptions{Type: "file", Options: map[string]string{"file_path": p.audit()}})
		if err == nil {
			return keys.RootToken
		}
		select {
		case <-time.After(100 * time.Millisecond):
		case <-ctx.Done():
			p.t.Fatalf("Vault does not become active: %v", err)
		}
	}
}

func (p *podVault) awaitServedAny(within time.Duration) bool {
	ctx, cancel := context.WithTimeout(p.t.Context(), within)
	defer cancel()
	for p.served(ctx) == "" {
		select {
		case <-time.After(20 * time.Millisecond):
		case <-ctx.Done():
			return false
		}
	}
	return true
}

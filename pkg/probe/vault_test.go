package probe

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"math/big"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"

	"github.com/vaultproof/vaultproof/pkg/history"
	"github.com/vaultproof/vaultproof/pkg/timeline"
)

// A real Vault on raft is killed with SIGKILL under load, and comes back.
func TestRealVaultIsKilled(t *testing.T) {
	binary := os.Getenv("VAULT_BINARY")
	if binary == "" {
		t.Skip("VAULT_BINARY does not name a Vault binary")
	}
	v := newRealVault(t, binary)
	v.start()
	v.initialise()
	v.unseal()
	v.call("POST", "sys/mounts/load", map[string]any{"type": "kv", "options": map[string]string{"version": "2"}})

	host, err := os.Hostname()
	if err != nil {
		t.Fatal(err)
	}
	log := timeline.New(nil)
	p, _ := local(t, Options{
		Address: v.url, CA: v.ca, ServerName: "vault.test", Token: v.token, Mount: "load", Rate: 50, Log: log,
		Pods: map[string]string{host: "127.0.0.1"},
	}, v.port)
	pause := func(d time.Duration) { <-time.After(d) }
	started := time.Now()
	eventually(t, "a healthy second", func() bool {
		m := Measure(log.Events(), started, time.Now())
		return m.OK > 100
	})
	killed := time.Now()
	v.kill()
	pause(time.Second)
	v.start()
	pause(300 * time.Millisecond) // to be seen sealed
	v.unseal()
	unsealed := time.Now()
	eventually(t, "recovery", func() bool { return Measure(log.Events(), unsealed, time.Now()).OK > 150 })
	pause(2500 * time.Millisecond) // for operations that wait for their timeout

	final, err := p.Final(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if err := p.Stop(t.Context()); err != nil {
		t.Fatal(err)
	}
	w := Outage(log.Events(), killed.Add(-50*time.Millisecond), time.Now())
	late := p.Lateness(killed, time.Now())
	if w.Open || w.Start.Sub(killed).Abs() > 100*time.Millisecond+late || w.End.Before(killed.Add(time.Second)) {
		t.Errorf("killed at %s, unsealed %s later; the outage is %+v; the prober was late by %s", killed.Format(time.StampMilli), unsealed.Sub(killed), w, late)
	}
	phases := Phases(log.Events(), Hit{At: killed, Active: host})
	if phases.Detected == nil || phases.Elected == nil || phases.FirstWrite == nil || phases.Unsealed == nil {
		t.Errorf("phases are missing: %+v", phases)
	} else {
		t.Logf("outage %.0f ms, first error %q; detected %.0f, unsealed %.0f, elected %.0f, first write %.0f ms; the prober was late by %s",
			w.MS(), w.FirstError, *phases.Detected, *phases.Unsealed, *phases.Elected, *phases.FirstWrite, late)
	}
	if losses := history.Lost(p.Ops(), final); len(losses) > 0 {
		t.Errorf("lost %v", losses)
	}
	result, err := history.Linearizable(t.Context(), p.Ops())
	if err != nil || !result.OK {
		t.Errorf("the history is %s: %s (%v)", result.Verdict, result.Info, err)
	}
	t.Log(result.Info)
	if m := Measure(log.Events(), started, killed); m.Answers[host] != m.OK || m.Ratio < 0.99 {
		t.Errorf("before the kill: %+v", m)
	}
}

// realVault is a process that can be killed and started again.
type realVault struct {
	t           *testing.T
	binary, dir string
	url         string
	port        int
	ca          []byte
	http        *http.Client
	process     *exec.Cmd
	token, key  string
}

func newRealVault(t *testing.T, binary string) *realVault {
	t.Helper()
	dir := t.TempDir()
	v := &realVault{t: t, binary: binary, dir: dir, ca: certificates(t, dir)}
	v.port = freePort(t)
	v.url = fmt.Sprintf("https://127.0.0.1:%d", v.port)
	roots := x509.NewCertPool()
	roots.AppendCertsFromPEM(v.ca)
	v.http = &http.Client{Timeout: 20 * time.Second, Transport: &http.Transport{
		TLSClientConfig: &tls.Config{RootCAs: roots, ServerName: "vault.test", MinVersion: tls.VersionTLS12}, DisableKeepAlives: true,
	}}
	if err := os.Mkdir(filepath.Join(dir, "raft"), 0o700); err != nil {
		t.Fatal(err)
	}
	config := fmt.Sprintf(`
listener "tcp" {
  address = "127.0.0.1:%d"
  cluster_address = "127.0.0.1:%d"
  tls_cert_file = %q
  tls_key_file = %q
}
storage "raft" {
  path = %q
  node_id = "only"
  performance_multiplier = 1
}
api_addr = %q
cluster_addr = "https://127.0.0.1:%[2]d"
disable_mlock = true
enable_response_header_hostname = true
`, v.port, freePort(t), filepath.Join(dir, "tls.crt"), filepath.Join(dir, "tls.key"), filepath.Join(dir, "raft"), v.url)
	if err := os.WriteFile(filepath.Join(dir, "vault.hcl"), []byte(config), 0o600); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { v.kill() })
	return v
}

func (v *realVault) start() {
	v.t.Helper()
	v.process = exec.Command(v.binary, "server", "-config", filepath.Join(v.dir, "vault.hcl"))
	out, err := os.OpenFile(filepath.Join(v.dir, "log"), os.O_APPEND|os.O_CREATE|os.O_WRONLY, 0o600)
	if err != nil {
		v.t.Fatal(err)
	}
	defer out.Close()
	v.process.Stdout, v.process.Stderr = out, out
	if err := v.process.Start(); err != nil {
		v.t.Fatal(err)
	}
	v.await("the listener", func() bool { _, err := v.try("GET", "sys/seal-status", nil); return err == nil })
}

func (v *realVault) kill() {
	if v.process != nil && v.process.Process != nil {
		_ = v.process.Process.Kill()
		_ = v.process.Wait()
		v.process = nil
	}
}

func (v *realVault) initialise() {
	v.t.Helper()
	got := v.call("PUT", "sys/init", map[string]any{"secret_shares": 1, "secret_threshold": 1})
	v.token = got["root_token"].(string)
	v.key = got["keys"].([]any)[0].(string)
}

// unseal waits until Vault is active, too.
func (v *realVault) unseal() {
	v.t.Helper()
	v.call("PUT", "sys/unseal", map[string]any{"key": v.key})
	v.await("an active Vault", func() bool {
		got, err := v.try("GET", "sys/leader", nil)
		return err == nil && got["is_self"] == true
	})
}

func (v *realVault) await(what string, is func() bool) {
	v.t.Helper()
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	patience := time.After(60 * time.Second)
	for !is() {
		select {
		case <-tick.C:
		case <-patience:
			text, _ := os.ReadFile(filepath.Join(v.dir, "log"))
			v.t.Fatalf("%s: not within a minute; Vault says:\n%s", what, text)
		}
	}
}

func (v *realVault) call(method, path string, body any) map[string]any {
	v.t.Helper()
	got, err := v.try(method, path, body)
	if err != nil {
		v.t.Fatal(err)
	}
	return got
}

func (v *realVault) try(method, path string, body any) (map[string]any, error) {
	text, err := json.Marshal(body)
	if err != nil {
		return nil, err
	}
	req, err := http.NewRequestWithContext(context.WithoutCancel(v.t.Context()), method, v.url+"/v1/"+path, bytes.NewReader(text))
	if err != nil {
		return nil, err
	}
	req.Header.Set("X-Vault-Token", v.token)
	resp, err := v.http.Do(req)
	if err != nil {
		return nil, err
	}
	defer resp.Body.Close()
	got := map[string]any{}
	if resp.StatusCode == http.StatusNoContent {
		return got, nil
	}
	if err := json.NewDecoder(resp.Body).Decode(&got); err != nil {
		return nil, err
	}
	if resp.StatusCode != http.StatusOK {
		return nil, fmt.Errorf("%s %s: %s: %v", method, path, resp.Status, got["errors"])
	}
	return got, nil
}

func freePort(t *testing.T) int {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return l.Addr().(*net.TCPAddr).Port
}

// certificates writes a self-signed certificate and its key into dir.
func certificates(t *testing.T, dir string) []byte {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "vault.test"}, DNSNames: []string{"vault.test"},
		IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)}, NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
		IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageDigitalSignature | x509.KeyUsageCertSign,
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}
	keyDER, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	crt := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})
	for name, text := range map[string][]byte{
		"tls.crt": crt, "tls.key": pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: keyDER}),
	} {
		if err := os.WriteFile(filepath.Join(dir, name), text, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return crt
}

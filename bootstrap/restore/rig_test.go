package restore

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"github.com/vaultproof/vaultproof/bootstrap/internal/realvault"
	"github.com/vaultproof/vaultproof/bootstrap/machine"
	"github.com/vaultproof/vaultproof/bootstrap/policies"
	"github.com/vaultproof/vaultproof/bootstrap/provision"
	"github.com/vaultproof/vaultproof/bootstrap/sidecar"
	"github.com/vaultproof/vaultproof/bootstrap/storage"
	"github.com/vaultproof/vaultproof/bootstrap/vault"
)

const settle = 90 * time.Second // a loaded machine; a peer may ask to join only once a minute

var must = realvault.Must

// rig is a cluster of real Vaults, each with the real sidecar's machine beside
// it, and a real custody server.
type rig struct {
	*realvault.Ground
	*realvault.Custody
	pods []*pod
}

type pod struct {
	*realvault.Vault
	rig *rig
	log realvault.Log // of the sidecar

	mu     sync.Mutex
	turn   machine.Turn
	ready  bool
	cancel context.CancelFunc
	ended  chan struct{}
}

func newRig(t *testing.T, n int) *rig {
	t.Helper()
	ground := realvault.New(t)
	r := &rig{Ground: ground, Custody: ground.Custody()}
	for _, v := range r.Vaults(n) {
		p := &pod{Vault: v, rig: r}
		must(t, os.MkdirAll(p.markers(), 0o700))
		r.pods = append(r.pods, p)
	}
	t.Cleanup(func() {
		for _, p := range r.pods {
			p.stopSidecar()
			p.Kill()
			if t.Failed() {
				t.Logf("sidecar of %s:\n%s\nend of Vault's log:\n%s", p.Name, p.log.String(), p.Tail())
			}
		}
	})
	return r
}

func (p *pod) markers() string { return filepath.Join(p.Data(), "bootstrap") }

// startVault does what the container's command does: it empties the storage if
// that is asked for, and runs Vault.
func (p *pod) startVault() {
	p.rig.T.Helper()
	if ask := filepath.Join(p.markers(), "rebuild"); exists(ask) {
		p.empty()
		must(p.rig.T, os.Remove(ask))
	}
	must(p.rig.T, p.Run(exec.Command(p.Binary(), "server", "-config="+p.Config())))
}

func exists(path string) bool {
	_, err := os.Stat(path)
	return err == nil
}

// empty deletes Vault's data, as a new volume would.
func (p *pod) empty() {
	must(p.rig.T, os.RemoveAll(filepath.Join(p.Data(), "vault.db")))
	must(p.rig.T, os.RemoveAll(filepath.Join(p.Data(), "raft")))
}

// Annotations implements sidecar.Self.
func (p *pod) Annotations(context.Context) (map[string]string, error) { return nil, nil }

// Delete implements sidecar.Self: Vault is restarted.
func (p *pod) Delete(context.Context) error {
	p.Kill()
	p.startVault()
	return nil
}

// own is the sidecar's client.
func (p *pod) own(t *testing.T) *vault.Client {
	t.Helper()
	c, err := vault.New(p.URL(), p.rig.Path("ca.crt"), "localhost")
	must(t, err)
	return c
}

func (p *pod) peers() map[string]*vault.Client {
	out := map[string]*vault.Client{}
	for _, peer := range p.rig.pods {
		if peer != p {
			out[peer.Name] = peer.own(p.rig.T)
		}
	}
	return out
}

// startSidecar runs the sidecar's machine in the test's process.
func (p *pod) startSidecar() {
	r := p.rig
	r.T.Helper()
	log := slog.New(slog.NewJSONHandler(&p.log, nil))
	hcl, err := policies.Load("")
	must(r.T, err)
	dir, err := storage.Open(p.markers())
	must(r.T, err)
	own := p.own(r.T)
	ordinal := int(p.Name[len(p.Name)-1] - '0')
	s := sidecar.New(sidecar.Options{Pod: p.Name, Ordinal: ordinal, Shares: 5, Threshold: 3, Vault: own, Peers: p.peers(), Ring: r.Ring,
		Markers: dir, Self: p, Log: log,
		Provisioner: &provision.Provisioner{Vault: own, Ring: r.Ring, Custody: r.Store, Policies: hcl, Period: time.Hour, KeepRoot: true, Pod: p.Name, Log: log}})
	ctx, cancel := context.WithCancel(context.WithoutCancel(r.T.Context()))
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
	p.rig.T.Helper()
	var last machine.Turn
	eventually(p.rig.T, fmt.Sprintf("%s in row %v", p.Name, rows), func() error {
		last, _ = p.state()
		for _, row := range rows {
			if last.Decision.Name == row {
				return nil
			}
		}
		return fmt.Errorf("it is in %s: %s", last.Decision.Name, last.Decision.Text)
	})
}

func (r *rig) secret(id string) string {
	r.T.Helper()
	return r.Secret(r.T, id)
}

// active gives the pod whose Vault is active.
func (r *rig) active() (found *pod) {
	r.T.Helper()
	eventually(r.T, "an active Vault", func() error {
		for _, p := range r.pods {
			if p.Active() {
				found = p
				return nil
			}
		}
		return errors.New("none is")
	})
	return found
}

// voters waits until raft has n voters, and names all its servers.
func (r *rig) voters(n int) (servers []string) {
	r.T.Helper()
	eventually(r.T, fmt.Sprint(n, " voters"), func() error {
		var voters []string
		var err error
		if servers, voters, err = r.active().Raft(r.secret(r.Ring.Provisioner())); err == nil && len(voters) != n {
			err = fmt.Errorf("raft's servers are %v, of which %v vote", servers, voters)
		}
		return err
	})
	return servers
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

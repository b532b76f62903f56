package main

import (
	"strings"
	"testing"
	"time"

	"github.com/vaultproof/vaultproof/bootstrap/internal/realvault"
	"github.com/vaultproof/vaultproof/bootstrap/status"
)

// TestHold seals a real Vault on purpose, and wants it to stay so until the
// hold ends, whatever becomes of the sidecar, Vault and the API server.
func TestHold(t *testing.T) {
	realvault.Binary(t)
	api := newKubeAPI(t)
	r := newRig(t, 1)
	p := r.pods[0]
	p.extra = []string{"-kube-token-file", api.token, "-fence=false"}
	p.startVault()
	p.startSidecar()
	p.await("serving", settle, serves)
	held := func(s status.Status) bool { return s.State == "held" && s.Sealed && !s.Ready }
	stays := func(what string) {
		t.Helper()
		if eventually(3*time.Second, func() bool { s, err := p.Client("").Sys().SealStatus(); return err == nil && !s.Sealed }) {
			t.Fatalf("%s: it was unsealed", what)
		}
	}

	api.hold(p.Name, "incident 7", true)
	must(t, p.Client(r.secret(r.Ring.Root())).Sys().Seal())
	s := p.await("held", settle, held)
	if !strings.Contains(s.Why, "incident 7") || !strings.Contains(s.Why, "kubectl -n vault annotate pod vault-0 vaultproof.dev/hold-") || s.Hold != "incident 7" {
		t.Errorf("hold %q, why %q; want the reason and how to end it", s.Hold, s.Why)
	}
	stays("sealed on purpose")
	p.Kill()
	p.await("silent", settle, func(s status.Status) bool { return !s.Answers })
	p.startVault()
	p.await("held", settle, held)
	stays("Vault was restarted")
	api.fails(true)
	stays("the API server is down")
	api.fails(false)
	must(t, p.stop())
	p.startSidecar()
	p.await("held", settle, held)
	stays("the sidecar was restarted")

	begin := time.Now()
	api.hold(p.Name, "", false)
	p.await("serving", settle, serves)
	t.Logf("serving %s after the hold ended", time.Since(begin).Round(time.Millisecond))
}

// TestRebuildDeletesItsPod: the sidecar needs nobody to have a Vault emptied
// that was never opened.
func TestRebuildDeletesItsPod(t *testing.T) {
	realvault.Binary(t)
	binary := withFailpoints(t)
	api := newKubeAPI(t)
	r := newRig(t, 1)
	p := r.pods[0]
	p.extra = []string{"-kube-token-file", api.token, "-fence=false", "-keep-root-token=false"}
	p.startVault()
	crash(t, p, binary, "after-add-vault-unseal-share-4") // all shares stored, the root token lost
	restarted := make(chan error, 1)
	api.deletes = func(string) { // the StatefulSet makes the pod anew
		stop := p.stop
		err := stop()
		p.Kill()
		p.startVault()
		p.startSidecar()
		restarted <- err
	}
	p.startSidecar()
	select {
	case err := <-restarted:
		must(t, err)
	case <-time.After(settle):
		t.Fatalf("the pod was not deleted; log:\n%s", p.log.String())
	}
	p.await("serving", settle, serves)
	for _, want := range []string{"never opened", "nothing in it can be missed", "deleting this pod"} {
		if !strings.Contains(p.log.String(), want) {
			t.Errorf("the log does not say %q", want)
		}
	}
	complete(t, p)
}

package main

import (
	"encoding/base64"
	"encoding/hex"
	"maps"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/vaultproof/vaultproof/bootstrap/keys"
	"github.com/vaultproof/vaultproof/bootstrap/status"
	"github.com/vaultproof/vaultproof/fixtures/secretmanager"
)

const settle = 60 * time.Second // a loaded machine with two cores

func ready(s status.Status) bool { return s.Ready && s.State == "serving" }

// TestCluster takes three real Vaults from nothing to serving, and through
// what a cluster goes through afterwards.
func TestCluster(t *testing.T) {
	r := newRig(t, 3)
	for _, p := range r.pods {
		p.startVault()
		p.startSidecar()
	}
	for _, p := range r.pods {
		p.await("ready", settle, ready)
	}
	active := r.active()
	active.await("provisioned", settle, func(s status.Status) bool { return s.Provisioned })

	t.Run("one cluster", func(t *testing.T) { oneCluster(t, r) })
	t.Run("every key is in custody once", func(t *testing.T) {
		for id, n := range r.versions() {
			want := 1
			if id == r.Ring.ClaimID() {
				want = 2 // claimed, then stored
			}
			if n != want {
				t.Errorf("secret %s has %d versions, want %d", id, n, want)
			}
		}
		if got := len(r.versions()); got != 10 {
			t.Errorf("custody holds %d secrets, want 5 shares, 3 tokens, claim and proof, and no token for snapshots", got)
		}
	})
	t.Run("only ordinal 0 initialises", func(t *testing.T) {
		for _, p := range r.pods[1:] {
			if strings.Contains(p.log.String(), "init-claimed") {
				t.Errorf("%s claimed the right to initialise", p.Name)
			}
		}
	})
	t.Run("provisioner token", func(t *testing.T) { provisionerToken(t, r, active) })
	// Before any other step-down: for 10 s after one Vault does not become active
	// again, and raft may choose it all the same.
	t.Run("handover", func(t *testing.T) { handsOver(t, r) })
	active = r.active()
	t.Run("policies", func(t *testing.T) { policyMatrix(t, r, active) })
	t.Run("a restart of every sidecar writes nothing", func(t *testing.T) {
		before := r.versions()
		for _, p := range r.pods {
			begin := time.Now()
			must(t, p.stop())
			t.Logf("the sidecar of %s ended in %s", p.Name, time.Since(begin))
			p.startSidecar()
		}
		for _, p := range r.pods {
			p.await("ready", settle, ready)
		}
		r.active().await("provisioned", settle, func(s status.Status) bool { return s.Provisioned })
		if after := r.versions(); !maps.Equal(before, after) {
			t.Errorf("custody's versions changed from %v to %v", before, after)
		}
	})
	t.Run("SIGKILL of the active Vault", func(t *testing.T) {
		old, token := r.active(), r.secret(r.Ring.Provisioner())
		old.Kill()
		old.await("silent", settle, func(s status.Status) bool { return s.State == "connecting" && !s.Ready })
		old.startVault()
		s := old.await("ready again", settle, ready)
		t.Logf("unsealed %.0f ms after the first sealed answer", s.LastUnsealSeconds*1000)
		r.active().await("provisioned", settle, func(s status.Status) bool { return s.Provisioned })
		if r.secret(r.Ring.Provisioner()) != token {
			t.Error("the provisioner token was replaced although it lives")
		}
	})
	t.Run("a third party posts bogus shares", func(t *testing.T) { bogusShares(t, r) })
	t.Run("custody out of reach", func(t *testing.T) { custodyDown(t, r) })
	t.Run("shares lost", func(t *testing.T) { sharesLost(t, r) })
	t.Run("seal is undone", func(t *testing.T) {
		p := r.active()
		must(t, p.Client(r.secret(r.Ring.Root())).Sys().Seal())
		p.await("sealed or ready on a standby's side", settle, func(s status.Status) bool { return s.Role != "active" })
		p.await("ready again", settle, ready)
	})
	t.Run("no secret in any log", func(t *testing.T) { cleanLogs(t, r) })
}

func oneCluster(t *testing.T, r *rig) {
	ids := map[string]bool{}
	for _, p := range r.pods {
		h, err := p.Client("").Sys().Health()
		must(t, err)
		ids[h.ClusterID] = true
	}
	if len(ids) != 1 {
		t.Errorf("the pods belong to %d clusters", len(ids))
	}
	// Raft's autopilot makes a newcomer a voter when it was stable for 10 s.
	var voters []string
	if !eventually(settle, func() bool { voters = r.voters(); return len(voters) == len(r.pods) }) {
		t.Errorf("raft's voters are %v, want all %d", voters, len(r.pods))
	}
}

func provisionerToken(t *testing.T, r *rig, active *pod) {
	s, err := active.Client(r.secret(r.Ring.Provisioner())).Auth().Token().LookupSelf()
	must(t, err)
	if orphan, _ := s.Data["orphan"].(bool); !orphan {
		t.Error("it is no orphan")
	}
	if p, _ := s.TokenPolicies(); len(p) != 1 || p[0] != "provisioner" {
		t.Errorf("it has policies %v, want provisioner alone", p)
	}
	if renewable, _ := s.TokenIsRenewable(); !renewable {
		t.Error("it is not renewable")
	}
	if ttl, _ := s.TokenTTL(); ttl < 23*time.Hour || ttl > 24*time.Hour {
		t.Errorf("it lives for %s, want a period of 24h", ttl)
	}
}

func bogusShares(t *testing.T, r *rig) {
	p := r.pods[(indexOf(r, r.active())+1)%3]
	p.Kill()
	stop := make(chan struct{})
	var wg sync.WaitGroup
	posted := 0
	wg.Go(func() {
		c := p.Client("")
		tick := time.NewTicker(20 * time.Millisecond)
		defer tick.Stop()
		for n := byte(0); ; n++ {
			select {
			case <-stop:
				return
			case <-tick.C:
			}
			bogus := make([]byte, 33)
			bogus[0], bogus[32] = n, n|1
			if _, err := c.Sys().Unseal(base64.StdEncoding.EncodeToString(bogus)); err == nil {
				posted++
			}
		}
	})
	p.await("silent", settle, func(s status.Status) bool { return !s.Answers })
	p.startVault()
	p.await("ready", settle, ready)
	close(stop)
	wg.Wait()
	t.Logf("%d bogus shares were taken", posted)
}

func custodyDown(t *testing.T, r *rig) {
	p := r.pods[(indexOf(r, r.active())+1)%3]
	p.Kill()
	r.Custody.Fault(secretmanager.Fault{Mode: secretmanager.FaultDeny})
	p.await("silent", settle, func(s status.Status) bool { return !s.Answers })
	// What was fetched ahead before the fault must not help.
	must(t, p.stop())
	p.startSidecar()
	p.startVault()
	s := p.await("telling that custody denies", settle, func(s status.Status) bool {
		return s.Answers && s.Sealed && strings.Contains(s.Why, "denied") && strings.Contains(s.Why, "vault-unseal-share-")
	})
	if s.Ready {
		t.Error("a sealed Vault is ready")
	}
	t.Logf("state %s: %s", s.State, s.Why)
	for _, one := range r.pods {
		if got, want := one.readyz(), map[bool]int{true: http.StatusServiceUnavailable, false: http.StatusOK}[one == p]; got != want {
			t.Errorf("/readyz of %s is %d without custody, want %d: sealed is not ready, open is", one.Name, got, want)
		}
	}
	r.Custody.Heal()
	p.await("ready", settle, ready)
	if got := p.readyz(); got != http.StatusOK {
		t.Errorf("/readyz of an open Vault is %d", got)
	}
}

func sharesLost(t *testing.T, r *rig) {
	p := r.pods[(indexOf(r, r.active())+1)%3]
	for _, i := range []int{0, 2, 4} {
		must(t, r.Store.Disable(t.Context(), r.Ring.Share(i), "1"))
	}
	p.Kill()
	must(t, p.stop())
	p.startSidecar()
	p.startVault()
	s := p.await("blocked", settle, func(s status.Status) bool { return s.State == "blocked" })
	for _, want := range []string{"vault-unseal-share-0", "vault-unseal-share-2", "vault-unseal-share-4", "will not be initialised again"} {
		if !strings.Contains(s.Why, want) {
			t.Errorf("the reason %q does not say %q", s.Why, want)
		}
	}
	must(t, r.Store.Enable(t.Context(), r.Ring.Share(2), "1"))
	p.await("ready", settle, ready)
	must(t, r.Store.Enable(t.Context(), r.Ring.Share(0), "1"))
	must(t, r.Store.Enable(t.Context(), r.Ring.Share(4), "1"))
}

func cleanLogs(t *testing.T, r *rig) {
	secrets := map[string]string{}
	for _, id := range []string{r.Ring.Root(), r.Ring.Provisioner(), r.Ring.Handover()} {
		secrets[id] = r.secret(id)
	}
	for i := range 5 {
		secrets[r.Ring.Share(i)] = r.secret(r.Ring.Share(i))
	}
	for _, p := range r.pods {
		log := p.log.String()
		for id, secret := range secrets {
			raw, _ := base64.StdEncoding.DecodeString(secret)
			for _, form := range []string{secret, hex.EncodeToString(raw), base64.StdEncoding.EncodeToString([]byte(secret))} {
				if len(form) > 12 && strings.Contains(log, form) {
					t.Errorf("the log of %s's sidecar holds %s", p.Name, id)
				}
			}
		}
	}
}

func indexOf(r *rig, p *pod) int {
	for i := range r.pods {
		if r.pods[i] == p {
			return i
		}
	}
	return -1
}

// TestLostStorage: an empty Vault whose keys exist in custody is never
// initialised.
func TestLostStorage(t *testing.T) {
	r := newRig(t, 1)
	p := r.pods[0]
	for i := range 5 {
		must(t, r.Ring.Put(t.Context(), r.Ring.Share(i), []byte("share of another life")))
	}
	_, err := r.Ring.Sign(t.Context(), keys.Claim{Holder: p.Name, Phase: keys.Stored, At: time.Now()})
	must(t, err)
	p.startVault()
	p.startSidecar()
	p.await("waiting", settle, func(s status.Status) bool {
		return s.State == "waiting" && strings.Contains(s.Why, "will not initialise")
	})
	if ok, err := p.Client("").Sys().InitStatus(); err != nil || ok {
		t.Errorf("initialised: %t, error: %v", ok, err)
	}
}

package main

import (
	"strings"
	"testing"
	"time"

	"github.com/hashicorp/vault/api"
	"github.com/vaultproof/vaultproof/bootstrap/status"
)

// TestToken is the life of the provisioner token beside one Vault: renewed,
// replaced when dead, and good for service when the root token is gone.
func TestToken(t *testing.T) {
	r := newRig(t, 1)
	p := r.pods[0]
	audit := r.path("audit.log")
	p.extra = []string{"-provisioner-period", "30s", "-audit-files", audit}
	p.startVault()
	p.startSidecar()
	provisioned := func(s status.Status) bool { return ready(s) && s.Provisioned }
	restart := func(extra ...string) {
		must(t, p.stop())
		p.extra = append(p.extra, extra...)
		p.startSidecar()
	}
	p.await("provisioned", settle, provisioned)
	root, token := r.secret(r.ring.Root()), r.secret(r.ring.Provisioner())
	s, err := p.client(root).Auth().Token().CreateOrphan(&api.TokenCreateRequest{Policies: []string{"admin"}})
	must(t, err)
	admin := p.client(s.Auth.ClientToken) // outlives the root token

	t.Run("an audit device writes the file", func(t *testing.T) {
		devices, err := p.client(root).Sys().ListAudit()
		must(t, err)
		if len(devices) != 1 || devices["file-audit/"] == nil || devices["file-audit/"].Options["file_path"] != audit {
			t.Errorf("audit devices are %+v", devices)
		}
	})
	t.Run("renewed after a third of its period", func(t *testing.T) {
		lowest, last, renewed := time.Hour, time.Duration(0), false
		if !eventually(settle, func() bool {
			s, err := p.client(token).Auth().Token().LookupSelf()
			must(t, err)
			ttl, err := s.TokenTTL()
			must(t, err)
			renewed = ttl > last+5*time.Second && last > 0
			lowest, last = min(lowest, ttl), ttl
			return renewed
		}) {
			t.Error("it was not renewed")
		}
		if lowest < 10*time.Second {
			t.Errorf("it had only %s left of its period of 30s", lowest)
		}
	})
	t.Run("replaced when it is dead", func(t *testing.T) {
		must(t, admin.Auth().Token().RevokeTree(token))
		restart()
		p.await("provisioned", settle, provisioned)
		if now := r.secret(r.ring.Provisioner()); now == token {
			t.Error("custody still holds the dead token")
		} else if _, err := p.client(now).Auth().Token().LookupSelf(); err != nil {
			t.Errorf("the new token is not alive: %v", err)
		}
	})
	t.Run("a handover token that died meanwhile is replaced at the next renewal", func(t *testing.T) {
		dead, kept := r.secret(r.ring.Handover()), r.secret(r.ring.Provisioner())
		must(t, admin.Auth().Token().RevokeTree(dead))
		if !eventually(settle, func() bool { return r.secret(r.ring.Handover()) != dead }) {
			t.Error("custody still holds the dead token")
		}
		if s, err := p.client(r.secret(r.ring.Handover())).Auth().Token().LookupSelf(); err != nil {
			t.Errorf("the new token is not alive: %v", err)
		} else if have, _ := s.TokenPolicies(); len(have) != 1 || have[0] != "handover" || s.Data["orphan"] != true {
			t.Errorf("it has policies %v, orphan: %v; want an orphan of handover alone", have, s.Data["orphan"])
		}
		if r.secret(r.ring.Provisioner()) != kept {
			t.Error("the provisioner token was replaced although it lives")
		}
		p.await("provisioned", settle, provisioned)
	})
	t.Run("root token revoked on demand", func(t *testing.T) {
		restart("-keep-root-token=false")
		p.await("provisioned", settle, provisioned)
		if _, err := p.client(root).Auth().Token().LookupSelf(); err == nil {
			t.Error("the root token is alive")
		}
		restart()
		s := p.await("provisioned without a root token", settle, provisioned)
		if strings.Contains(s.Why, "reservation") {
			t.Errorf("it has a reservation about a root token that was to be revoked: %s", s.Why)
		}
	})
	t.Run("root token gone although it was to be kept", func(t *testing.T) {
		restart("-keep-root-token=true")
		s := p.await("provisioned", settle, provisioned)
		if !strings.Contains(s.Why, "reservation") || !strings.Contains(s.Why, "revoked") {
			t.Errorf("the reason %q does not tell that policies were not checked", s.Why)
		}
	})
	t.Run("handover token dead and no root token to make another", func(t *testing.T) {
		must(t, admin.Auth().Token().RevokeTree(r.secret(r.ring.Handover())))
		restart()
		s := p.await("provisioned", settle, provisioned)
		if !strings.Contains(s.Why, "reservation") || !strings.Contains(s.Why, r.ring.Handover()) || !strings.Contains(s.Why, "generate-root") {
			t.Errorf("the reason %q does not tell that the handover token is dead", s.Why)
		}
	})
	t.Run("neither token is alive", func(t *testing.T) {
		must(t, admin.Auth().Token().RevokeTree(r.secret(r.ring.Provisioner())))
		restart()
		s := p.await("telling what to do", settle, func(s status.Status) bool { return strings.Contains(s.Why, "generate-root") })
		if s.Ready || !strings.Contains(s.Why, r.ring.Provisioner()) {
			t.Error("an active Vault that is known to lack its provisioner token is ready")
		}
	})
}

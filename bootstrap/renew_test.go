package main

import (
	"context"
	"log/slog"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/hashicorp/vault/api"
	"github.com/vaultproof/vaultproof/bootstrap/breakglass"
	"github.com/vaultproof/vaultproof/bootstrap/status"
	"github.com/vaultproof/vaultproof/fixtures/secretmanager/secretmanagertest"
	"github.com/vaultproof/vaultproof/pkg/ceremony"
	"github.com/vaultproof/vaultproof/pkg/custody"
)

// TestToken is the life of the tokens beside one Vault: renewed, replaced when
// they are old or dead, without a root token and with one of break-glass.
func TestToken(t *testing.T) {
	r := newRig(t, 1)
	p := r.pods[0]
	audit := r.Path("audit.log")
	p.extra = []string{"-keep-root-token=false", "-provisioner-period", "30s", "-provisioner-max-age", "0", "-audit-files", audit}
	p.startVault()
	p.startSidecar()
	provisioned := func(s status.Status) bool { return ready(s) && s.Provisioned }
	restart := func(extra ...string) {
		must(t, p.stop())
		p.extra = append(p.extra, extra...)
		p.startSidecar()
	}
	p.await("provisioned", settle, provisioned)
	token := r.secret(r.Ring.Provisioner())
	root := p.root() // of the test; the sidecar knows nothing of it
	kill := func(id string) { must(t, root.Auth().Token().RevokeTree(r.secret(id))) }

	t.Run("no root token is left", func(t *testing.T) {
		if got := r.states(r.Ring.Root()); !slices.Equal(got, []custody.State{custody.Destroyed}) {
			t.Errorf("versions of the root token are %v, want one, destroyed", got)
		}
		if n := liveRoots(t, root); n != 1 {
			t.Errorf("%d root tokens are alive, want the test's alone", n)
		}
	})
	t.Run("an audit device writes the file", func(t *testing.T) {
		devices, err := root.Sys().ListAudit()
		must(t, err)
		if len(devices) != 1 || devices["file-audit/"] == nil || devices["file-audit/"].Options["file_path"] != audit {
			t.Errorf("audit devices are %+v", devices)
		}
	})
	t.Run("a restart adds nothing", func(t *testing.T) {
		before := r.versions()
		restart()
		p.await("provisioned", settle, provisioned)
		for id, n := range r.versions() {
			if n != before[id] {
				t.Errorf("secret %s went from %d versions to %d", id, before[id], n)
			}
		}
	})
	t.Run("renewed after a third of its period", func(t *testing.T) {
		lowest, last, renewed := time.Hour, time.Duration(0), false
		if !eventually(settle, func() bool {
			s, err := p.Client(token).Auth().Token().LookupSelf()
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
	t.Run("replaced when it is too old", func(t *testing.T) {
		restart("-provisioner-max-age", "30s")
		states := func(id string) []custody.State { return r.states(id) }
		if !eventually(settle, func() bool {
			return slices.Equal(states(r.Ring.Provisioner()), []custody.State{custody.Disabled, custody.Enabled}) &&
				slices.Equal(states(r.Ring.Handover()), []custody.State{custody.Disabled, custody.Enabled})
		}) {
			t.Fatalf("versions are %v and %v", states(r.Ring.Provisioner()), states(r.Ring.Handover()))
		}
		if _, err := p.Client(token).Auth().Token().LookupSelf(); err != nil {
			t.Errorf("the old token was revoked, or died: %v", err)
		}
		if s, err := p.Client(r.secret(r.Ring.Provisioner())).Auth().Token().LookupSelf(); err != nil || s.Data["orphan"] != true {
			t.Errorf("the new one is no orphan, or dead: %v", err)
		}
		p.await("provisioned, without a reservation", settle, func(s status.Status) bool { return provisioned(s) && !reserved(s) })
		restart("-provisioner-max-age", "0")
		p.await("provisioned", settle, provisioned)
	})
	t.Run("a handover token that died is replaced at the next renewal, without root", func(t *testing.T) {
		dead, kept := r.secret(r.Ring.Handover()), r.secret(r.Ring.Provisioner())
		kill(r.Ring.Handover())
		if !eventually(settle, func() bool { return r.secret(r.Ring.Handover()) != dead }) {
			t.Error("custody still holds the dead token")
		}
		if s, err := p.Client(r.secret(r.Ring.Handover())).Auth().Token().LookupSelf(); err != nil {
			t.Errorf("the new token is not alive: %v", err)
		} else if have, _ := s.TokenPolicies(); len(have) != 1 || have[0] != "handover" || s.Data["orphan"] != true {
			t.Errorf("it has policies %v, orphan: %v; want an orphan of handover alone", have, s.Data["orphan"])
		}
		if r.secret(r.Ring.Provisioner()) != kept {
			t.Error("the provisioner token was replaced although it lives")
		}
	})
	t.Run("a changed policy is told, and mended by break-glass", func(t *testing.T) {
		must(t, root.Sys().PutPolicy("admin", `path "*" { capabilities = ["read"] }`))
		restart()
		s := p.await("telling", settle, reserved)
		if !strings.Contains(s.Why, "policy admin") || !strings.Contains(s.Why, "kubectl exec") || !strings.Contains(s.Why, p.Name+" -c bootstrap -- /usr/local/bin/bootstrap break-glass") {
			t.Errorf("the reason %q does not tell what differs and what to run", s.Why)
		}
		p.breakGlass()
		restart() // or a minute later
		p.await("mended", settle, func(s status.Status) bool { return provisioned(s) && !reserved(s) })
		if have, err := root.Sys().GetPolicy("admin"); err != nil || strings.Contains(have, `path "*"`) {
			t.Errorf("policy admin is %q (error %v)", have, err)
		}
		if got := r.states(r.Ring.Root()); slices.Contains(got, custody.Enabled) {
			t.Errorf("versions of the root token are %v", got)
		}
	})
	t.Run("a dead provisioner token is replaced by break-glass", func(t *testing.T) {
		dead := r.secret(r.Ring.Provisioner())
		kill(r.Ring.Provisioner())
		restart()
		s := p.await("telling what to do", settle, func(s status.Status) bool { return strings.Contains(s.Why, "break-glass") })
		if s.Ready || !strings.Contains(s.Why, r.Ring.Provisioner()) {
			t.Error("an active Vault that is known to lack its provisioner token is ready")
		}
		p.breakGlass()
		p.await("provisioned", settle, provisioned)
		if now := r.secret(r.Ring.Provisioner()); now == dead {
			t.Error("custody still holds the dead token")
		} else if _, err := p.Client(now).Auth().Token().LookupSelf(); err != nil {
			t.Errorf("the new token is not alive: %v", err)
		}
		if n := liveRoots(t, root); n != 1 {
			t.Errorf("%d root tokens are alive, want the test's alone", n)
		}
	})
	t.Run("root token kept on demand", func(t *testing.T) {
		restart("-keep-root-token")
		s := p.await("with a reservation", settle, reserved)
		if !strings.Contains(s.Why, "was to be kept") {
			t.Errorf("the reason %q does not tell that there is none", s.Why)
		}
		p.breakGlass()
		restart()
		p.await("without a reservation", settle, func(s status.Status) bool { return provisioned(s) && !reserved(s) })
		kept := p.Client(r.secret(r.Ring.Root()))
		if _, err := kept.Auth().Token().LookupSelf(); err != nil {
			t.Errorf("it is dead: %v", err)
		}
		must(t, ceremony.Revoke(t.Context(), kept))
	})
}

func reserved(s status.Status) bool { return strings.Contains(s.Why, "reservation") }

// states are those of a secret's versions, oldest first.
func (r *rig) states(id string) (out []custody.State) {
	r.T.Helper()
	versions, err := r.Store.Versions(r.T.Context(), id)
	must(r.T, err)
	for _, v := range slices.Backward(versions) {
		out = append(out, v.State)
	}
	return out
}

// liveRoots counts the tokens with the policy root.
func liveRoots(t *testing.T, root *api.Client) (n int) {
	t.Helper()
	list, err := root.Logical().List("auth/token/accessors")
	must(t, err)
	for _, accessor := range list.Data["keys"].([]any) {
		s, err := root.Auth().Token().LookupAccessor(accessor.(string))
		if err != nil {
			continue
		}
		if have, _ := s.TokenPolicies(); slices.Contains(have, "root") {
			n++
		}
	}
	return n
}

// breakGlass runs "bootstrap break-glass" beside the pod's sidecar.
func (p *pod) breakGlass() {
	r := p.rig
	r.T.Helper()
	env := map[string]string{
		"VAULT_ADDR": p.URL(), "VAULT_CA": r.Path("ca.crt"), "SHARES": strconv.Itoa(r.Ring.Shares),
		"CUSTODY_ENDPOINT": r.Custody.Endpoint, "CUSTODY_PROJECT": secretmanagertest.Project, "CUSTODY_AUDIENCE": secretmanagertest.Audience,
		"CUSTODY_CA": r.Path("custody-ca.crt"), "CUSTODY_TOKEN_FILE": r.Path("token"),
	}
	ctx, cancel := context.WithTimeout(r.T.Context(), settle)
	defer cancel()
	must(r.T, breakglass.Main(ctx, nil, func(name string) (string, bool) { v, ok := env[name]; return v, ok },
		slog.New(slog.NewJSONHandler(&p.log, nil))))
}

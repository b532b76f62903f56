package provision

import (
	"context"
	"errors"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/hashicorp/vault/api"

	"github.com/vaultproof/vaultproof/bootstrap/policies"
	"github.com/vaultproof/vaultproof/fixtures/secretmanager"
	"github.com/vaultproof/vaultproof/pkg/ceremony"
)

// command is what an admin is told to run.
const command = "kubectl exec -n safe vault-1 -c bootstrap -- /usr/local/bin/bootstrap break-glass"

func keysOf(shares []string) ceremony.Shares {
	return func(_ context.Context, n int) ([][]byte, error) {
		var out [][]byte
		for _, s := range shares[:n] {
			out = append(out, []byte(s))
		}
		return out, nil
	}
}

// TestLife takes a Vault from its first root token through what happens to its
// tokens afterwards.
func TestLife(t *testing.T) {
	r := newRig(t)
	first := r.real.Keys.RootToken
	begin := r.ensure()

	t.Run("two tokens, and no root token", func(t *testing.T) {
		if err := errors.Join(r.fit(r.secret(r.Ring.Provisioner()), "provisioner"), r.fit(r.secret(r.Ring.Handover()), "handover")); err != nil {
			t.Error(err)
		}
		if begin.RenewIn < 7*time.Hour || begin.RenewIn > 8*time.Hour {
			t.Errorf("renewal is due in %s, want a third of the period", begin.RenewIn)
		}
		if r.real.Alive(first) || r.states(r.Ring.Root()) != "destroyed" {
			t.Errorf("the root token is alive: %t, its version %s", r.real.Alive(first), r.states(r.Ring.Root()))
		}
	})
	t.Run("another look writes nothing", func(t *testing.T) {
		before, since := r.everything(), time.Now()
		r.ensure()
		r.unchanged(before)
		calls, err := r.custody.Admin.AccessLogSince(t.Context(), since)
		r.must(err)
		if len(calls) == 0 {
			t.Error("custody was not asked at all")
		}
		for _, c := range calls {
			if c.Method != "AccessSecretVersion" && !strings.HasPrefix(c.Method, "List") {
				t.Errorf("custody was asked for %s of %s", c.Method, c.Resource)
			}
		}
	})
	t.Run("tokens that are too old are replaced without root", func(t *testing.T) {
		oldP, oldH := r.secret(r.Ring.Provisioner()), r.secret(r.Ring.Handover())
		r.MaxAge = time.Nanosecond
		got := r.ensure()
		r.MaxAge = 30 * 24 * time.Hour
		if got.RenewIn < 7*time.Hour {
			t.Errorf("the next look is in %s", got.RenewIn)
		}
		for id, old := range map[string]string{r.Ring.Provisioner(): oldP, r.Ring.Handover(): oldH} {
			if r.states(id) != "disabled enabled" || r.secret(id) == old || !r.real.Alive(old) {
				t.Errorf("%s is %s, replaced: %t, the old token alive: %t", id, r.states(id), r.secret(id) != old, r.real.Alive(old))
			}
		}
		if err := errors.Join(r.fit(r.secret(r.Ring.Provisioner()), "provisioner"), r.fit(r.secret(r.Ring.Handover()), "handover")); err != nil {
			t.Error(err)
		}
		before := r.everything()
		r.ensure()
		r.unchanged(before)
	})
	t.Run("the old version is not disabled before the new one is read back", func(t *testing.T) {
		before := r.states(r.Ring.Provisioner())
		r.MaxAge = time.Nanosecond
		r.custody.Fault(secretmanager.Fault{Mode: secretmanager.FaultDeny, Method: "AddSecretVersion"})
		got := r.ensure("provisioner token is alive", "handover token is alive", "denied")
		r.custody.Heal()
		r.MaxAge = 0
		if got.RenewIn > lookAgain || got.RenewIn <= 0 || r.states(r.Ring.Provisioner()) != before {
			t.Errorf("looked at again in %s, versions %s; want them as they were", got.RenewIn, r.states(r.Ring.Provisioner()))
		}
		r.ensure()
	})
	t.Run("a crash before the old version is disabled", func(t *testing.T) {
		r.MaxAge = time.Nanosecond
		r.custody.Fault(secretmanager.Fault{Mode: secretmanager.FaultDeny, Method: "DisableSecretVersion"})
		r.ensure("supersedes")
		r.custody.Heal()
		r.MaxAge = 0
		if !strings.HasSuffix(r.states(r.Ring.Provisioner()), "enabled enabled") {
			t.Fatalf("versions %s", r.states(r.Ring.Provisioner()))
		}
		r.ensure()
		if !strings.HasSuffix(r.states(r.Ring.Provisioner()), "disabled disabled enabled") {
			t.Errorf("versions %s, want all but the newest disabled", r.states(r.Ring.Provisioner()))
		}
	})
	t.Run("a write that was cut in two", func(t *testing.T) {
		r.MaxAge = time.Nanosecond
		r.custody.Fault(secretmanager.Fault{Mode: secretmanager.FaultTorn, Method: "AddSecretVersion", Secret: r.Ring.Provisioner(), Count: 1})
		r.ensure("provisioner token is alive")
		r.custody.Heal()
		r.MaxAge = 0
		r.ensure() // by the older version
		if err := r.fit(r.secret(r.Ring.Provisioner()), "provisioner"); err != nil || !strings.HasSuffix(r.states(r.Ring.Provisioner()), "disabled disabled enabled") {
			t.Errorf("versions %s, error %v; want a good new one alone", r.states(r.Ring.Provisioner()), err)
		}
	})
	t.Run("custody damages whatever is read", func(t *testing.T) {
		before := r.everything()
		r.custody.Fault(secretmanager.Fault{Mode: secretmanager.FaultCorrupt, Secret: r.Ring.Handover()})
		for range 5 {
			_, _ = r.Ensure(t.Context())
		}
		r.custody.Heal()
		if now := strings.Count(r.everything()[r.Ring.Handover()], "abled"); now > strings.Count(before[r.Ring.Handover()], "abled")+mostDamaged+1 {
			t.Errorf("versions went from %q to %q", before[r.Ring.Handover()], r.everything()[r.Ring.Handover()])
		}
		r.ensure()
		if !strings.HasSuffix(r.states(r.Ring.Handover()), "disabled enabled") {
			t.Errorf("versions %s", r.states(r.Ring.Handover()))
		}
	})
	t.Run("a dead handover token is replaced without root", func(t *testing.T) {
		dead, kept := r.secret(r.Ring.Handover()), r.secret(r.Ring.Provisioner())
		r.kill(dead)
		r.ensure()
		if now := r.secret(r.Ring.Handover()); now == dead || r.fit(now, "handover") != nil || r.secret(r.Ring.Provisioner()) != kept {
			t.Error("it was not replaced, or the provisioner token was")
		}
	})
	t.Run("drift is told, and mended by break-glass", func(t *testing.T) { drift(t, r) })
	t.Run("a root token that is dead already", func(t *testing.T) {
		token := r.breakGlass()
		r.kill(token)
		r.ensure()
		if !strings.HasSuffix(r.states(r.Ring.Root()), "destroyed") {
			t.Errorf("its version is %s", r.states(r.Ring.Root()))
		}
	})
	t.Run("a root token whose version may not be destroyed", func(t *testing.T) {
		token := r.breakGlass()
		r.custody.Fault(secretmanager.Fault{Mode: secretmanager.FaultDeny, Method: "DestroySecretVersion"})
		r.ensure("is dead, but its version", r.Ring.Root(), "denied")
		r.custody.Heal()
		if r.real.Alive(token) {
			t.Error("it is alive")
		}
		r.ensure()
		if !strings.HasSuffix(r.states(r.Ring.Root()), "destroyed") {
			t.Errorf("its version is %s", r.states(r.Ring.Root()))
		}
	})
	t.Run("a dead provisioner token", func(t *testing.T) {
		r.kill(r.secret(r.Ring.Provisioner()))
		_, err := r.Ensure(t.Context())
		if !errors.Is(err, ErrDead) || !strings.Contains(err.Error(), command) || !strings.Contains(err.Error(), r.Ring.Provisioner()) {
			t.Fatalf("error %v; want ErrDead with the command and the secret", err)
		}
		r.breakGlass()
		r.ensure()
		if err := r.fit(r.secret(r.Ring.Provisioner()), "provisioner"); err != nil || !strings.HasSuffix(r.states(r.Ring.Root()), "destroyed") {
			t.Errorf("versions of the root token %s, error %v", r.states(r.Ring.Root()), err)
		}
	})
}

// drift changes what the sidecar has written.
func drift(t *testing.T, r *rig) {
	root := r.root()
	r.must(root.Sys().PutPolicy("admin", `path "*" { capabilities = ["read"] }`))
	_, err := root.Logical().Write(stepDown.role(), map[string]any{"allowed_policies": []string{"handover", "admin"}})
	r.must(err)
	before := r.everything()
	if got := r.ensure("policy admin", "token role handover", command); got.RenewIn > lookAgain {
		t.Errorf("looked at again in %s", got.RenewIn)
	}
	r.unchanged(before)
	r.AuditFiles = []string{filepath.Join(t.TempDir(), "audit.log"), "stdout"}
	r.must(root.Sys().EnableAuditWithOptions("of-an-admin", &api.EnableAuditOptions{Type: "file", Options: map[string]string{"file_path": "stdout"}}))
	if got := r.ensure("missing audit device for "+r.AuditFiles[0], command); strings.Contains(got.Reservation, "device for stdout") {
		t.Errorf("reservation %q; want it to know that there is a device for stdout", got.Reservation)
	}

	// Before the policy let it read anything, there was no telling what differs.
	r.must(root.Sys().PutPolicy("provisioner", `path "auth/token/*" { capabilities = ["read", "create", "update", "sudo"] }`))
	r.ensure("policy provisioner (not readable", "the audit devices (not readable")

	_, err = root.Logical().Delete(provisioner.role())
	r.must(err)
	r.ensure("token role provisioner")

	token := r.breakGlass()
	r.ensure()
	if r.real.Alive(token) || !strings.HasSuffix(r.states(r.Ring.Root()), "destroyed") {
		t.Errorf("the root token is alive: %t, its versions %s", r.real.Alive(token), r.states(r.Ring.Root()))
	}
	for _, name := range policies.Names {
		if have, err := root.Sys().GetPolicy(name); err != nil || !r.samePolicy(name, have) {
			t.Errorf("policy %s was not mended (error %v)", name, err)
		}
	}
	if devices, err := root.Sys().ListAudit(); err != nil || len(devices) != 2 || devices["file-audit/"] == nil || devices["of-an-admin/"] == nil {
		t.Errorf("audit devices %v (error %v); want the missing one, and what was there", devices, err)
	}
	r.must(ceremony.Revoke(t.Context(), root))
	r.ensure()
}

// TestRootKept: with KeepRoot nothing happens to the root token.
func TestRootKept(t *testing.T) {
	r := newRig(t)
	r.KeepRoot = true
	r.ensure()
	if !r.real.Alive(r.real.Keys.RootToken) || r.states(r.Ring.Root()) != "enabled" {
		t.Fatalf("the root token is alive: %t, its version %s", r.real.Alive(r.real.Keys.RootToken), r.states(r.Ring.Root()))
	}
	r.kill(r.real.Keys.RootToken)
	r.ensure("was to be kept", "revoked")
	r.KeepRoot = false

	t.Run("several versions, one of them damaged", func(t *testing.T) {
		good := r.breakGlass()
		r.custody.Fault(secretmanager.Fault{Mode: secretmanager.FaultTorn, Secret: r.Ring.Root(), Count: 1})
		_, err := r.store.Add(t.Context(), r.Ring.Root(), []byte("hvs.of-a-write-that-was-cut-in-two"))
		if err == nil {
			t.Fatal("the write was not cut in two")
		}
		r.custody.Heal()
		r.ensure()
		if r.real.Alive(good) || r.states(r.Ring.Root()) != "destroyed destroyed destroyed" {
			t.Errorf("the good one is alive: %t, versions %s", r.real.Alive(good), r.states(r.Ring.Root()))
		}
	})
}

package main

import (
	"testing"
	"time"

	"github.com/hashicorp/vault/api"
	"github.com/vaultproof/vaultproof/bootstrap/vault"
)

// policyMatrix tries what the policies allow and what they must not.
func policyMatrix(t *testing.T, r *rig, active *pod) {
	root := active.client(r.secret(r.ring.Root()))
	must(t, root.Sys().Mount("tenant-a", &api.MountInput{Type: "kv-v2"}))
	must(t, root.Sys().Mount("other", &api.MountInput{Type: "kv-v2"}))
	write(t, root, "tenant-a/data/x", map[string]any{"data": map[string]any{"k": "v"}})

	provisioner := active.client(r.secret(r.ring.Provisioner()))
	must(t, provisioner.Sys().Mount("vaultproof-probe", &api.MountInput{Type: "kv-v2"}))
	must(t, provisioner.Sys().PutPolicy("vaultproof-probe", `path "vaultproof-probe/*" { capabilities = ["create", "read", "update", "delete", "list"] }`))
	write(t, provisioner, "auth/token/roles/vaultproof-probe", map[string]any{"allowed_policies": "vaultproof-probe", "orphan": true, "renewable": false})
	s, err := provisioner.Auth().Token().CreateWithRole(&api.TokenCreateRequest{TTL: "5m", Policies: []string{"vaultproof-probe"}, NoDefaultPolicy: true}, "vaultproof-probe")
	must(t, err)
	probe := active.client(s.Auth.ClientToken)
	write(t, probe, "vaultproof-probe/data/x", map[string]any{"data": map[string]any{"k": "v"}})
	if _, err := probe.Logical().Read("vaultproof-probe/data/x"); err != nil {
		t.Errorf("a probe token cannot read its own data: %v", err)
	}
	must(t, provisioner.Sys().PutPolicy("tenant-a", `path "tenant-a/*" { capabilities = ["read"] }`))
	must(t, provisioner.Sys().EnableAuthWithOptions("tenant-a", &api.EnableAuthOptions{Type: "kubernetes"}))
	if _, err := provisioner.Auth().Token().Create(&api.TokenCreateRequest{TTL: "20m", DisplayName: "terraform"}); err != nil {
		t.Errorf("Terraform's provider cannot make its child token: %v", err)
	}
	if _, err := provisioner.Logical().Read("sys/storage/raft/configuration"); err != nil {
		t.Errorf("the provisioner cannot read who votes in raft: %v", err)
	}
	if _, err := provisioner.Auth().Token().RenewSelf(0); err != nil {
		t.Errorf("the provisioner token cannot renew itself: %v", err)
	}

	s, err = root.Auth().Token().Create(&api.TokenCreateRequest{TTL: "5m", Policies: []string{"admin"}})
	must(t, err)
	admin := active.client(s.Auth.ClientToken)
	if _, err := admin.Logical().Read("sys/storage/raft/configuration"); err != nil {
		t.Errorf("an admin cannot read raft's configuration: %v", err)
	}
	if _, err := admin.Sys().ListAudit(); err != nil {
		t.Errorf("an admin cannot list audit devices: %v", err)
	}

	handover := active.client(r.secret(r.ring.Handover()))
	if _, err := handover.Auth().Token().RenewSelf(0); err != nil {
		t.Errorf("the handover token cannot renew itself: %v", err)
	}

	read := func(c *api.Client, path string) error { _, err := c.Logical().Read(path); return err }
	for what, err := range map[string]error{
		"the provisioner reads a tenant's data":           read(provisioner, "tenant-a/data/x"),
		"the provisioner reads the probe's data":          read(provisioner, "vaultproof-probe/data/x"),
		"the provisioner reads storage":                   read(provisioner, "sys/raw/core/keyring"),
		"the provisioner seals":                           provisioner.Sys().Seal(),
		"the provisioner steps the active Vault down":     provisioner.Sys().StepDown(),
		"the provisioner rewrites the policy admin":       provisioner.Sys().PutPolicy("admin", `path "*" { capabilities = ["read"] }`),
		"the provisioner rewrites its own policy":         provisioner.Sys().PutPolicy("provisioner", `path "*" { capabilities = ["read"] }`),
		"the provisioner mounts under another name":       provisioner.Sys().Mount("else", &api.MountInput{Type: "kv-v2"}),
		"the provisioner removes another's mount":         provisioner.Sys().Unmount("other"),
		"the provisioner lists audit devices":             read(provisioner, "sys/audit"),
		"the provisioner makes a child of policy admin":   child(provisioner, "admin"),
		"the provisioner makes a child of policy default": child(provisioner, "default"),
		"the handover token seals":                        handover.Sys().Seal(),
		"the handover token reads a tenant's data":        read(handover, "tenant-a/data/x"),
		"the handover token lists mounts":                 read(handover, "sys/mounts"),
		"the handover token makes a child":                child(handover, "handover"),
		"the handover token rewrites its policy":          handover.Sys().PutPolicy("handover", `path "*" { capabilities = ["read"] }`),
		"an admin reads a tenant's data":                  read(admin, "tenant-a/data/x"),
		"an admin reads storage":                          read(admin, "sys/raw/core/keyring"),
	} {
		switch {
		case err == nil:
			t.Errorf("%s", what)
		case !vault.Denied(err) && !vault.Invalid(err):
			t.Errorf("%s: refused, but for the wrong reason: %v", what, err)
		}
	}
	if err := admin.Sys().StepDown(); err != nil {
		t.Errorf("an admin cannot make the active Vault step down: %v", err)
	}
	begin := time.Now()
	next := r.active()
	t.Logf("%s active %s after the step-down of %s", next.name, time.Since(begin).Round(time.Millisecond), active.name)
}

func child(c *api.Client, policy string) error {
	_, err := c.Auth().Token().Create(&api.TokenCreateRequest{Policies: []string{policy}, NoDefaultPolicy: true})
	return err
}

func write(t *testing.T, c *api.Client, path string, data map[string]any) {
	t.Helper()
	if _, err := c.Logical().Write(path, data); err != nil {
		t.Fatalf("writing %s: %v", path, err)
	}
}

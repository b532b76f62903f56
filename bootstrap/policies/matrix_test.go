package policies

import (
	"errors"
	"io"
	"net/http"
	"strings"
	"testing"

	"github.com/hashicorp/vault/api"
	"github.com/vaultproof/vaultproof/pkg/ceremony/vaulttest"
)

// attempt is something to try with a token.
type attempt func(c *api.Client) error

func read(path string) attempt {
	return func(c *api.Client) error {
		s, err := c.Logical().Read(path)
		if err == nil && s == nil {
			err = errors.New("Vault has nothing at " + path)
		}
		return err
	}
}

func list(path string) attempt {
	return func(c *api.Client) error { _, err := c.Logical().List(path); return err }
}

func write(path string, data map[string]any) attempt {
	return func(c *api.Client) error { _, err := c.Logical().Write(path, data); return err }
}

func remove(path string) attempt {
	return func(c *api.Client) error { _, err := c.Logical().Delete(path); return err }
}

func mount(path string) attempt {
	return func(c *api.Client) error { return c.Sys().Mount(path, &api.MountInput{Type: "kv-v2"}) }
}

func policy(name string) attempt {
	return func(c *api.Client) error {
		return c.Sys().PutPolicy(name, `path "`+name+`/*" { capabilities = ["read"] }`)
	}
}

// child makes a token of one policy, through a role or without.
func child(role, policy string) attempt {
	return func(c *api.Client) error {
		request := &api.TokenCreateRequest{Policies: []string{policy}, NoDefaultPolicy: true, Period: "1h"}
		if role != "" {
			_, err := c.Auth().Token().CreateWithRole(request, role)
			return err
		}
		request.Period = ""
		_, err := c.Auth().Token().Create(request)
		return err
	}
}

func snapshot(c *api.Client) error { return allowed(c.Sys().RaftSnapshot(io.Discard)) }
func restore(c *api.Client) error {
	return allowed(c.Sys().RaftSnapshotRestore(strings.NewReader("no snapshot"), true))
}

// allowed: this Vault has no raft, and says so to whoever may ask.
func allowed(err error) error {
	var answer *api.ResponseError
	if errors.As(err, &answer) && answer.StatusCode == http.StatusNotFound {
		return nil
	}
	return err
}

func renewSelf(c *api.Client) error { _, err := c.Auth().Token().RenewSelf(0); return err }
func orphan(c *api.Client) error {
	_, err := c.Auth().Token().CreateOrphan(&api.TokenCreateRequest{Policies: []string{Provisioner}})
	return err
}

// may is what each policy must allow, and mayNot what it must refuse. Steps that
// build on one another are in the right order.
var may = map[string][]struct {
	what string
	try  attempt
}{
	Provisioner: {
		{"renew itself", renewSelf},
		{"make Terraform's short-lived child", child("", Provisioner)},
		{"make its successor", child(Provisioner, Provisioner)},
		{"make a handover token", child(Handover, Handover)},
		{"make a token for snapshots", child(Snapshot, Snapshot)},
		{"read its role", read("auth/token/roles/provisioner")},
		{"read the role handover", read("auth/token/roles/handover")},
		{"read the role snapshot", read("auth/token/roles/snapshot")},
		{"read the policy admin", read("sys/policies/acl/admin")},
		{"read its policy", read("sys/policies/acl/provisioner")},
		{"read the policy handover", read("sys/policies/acl/handover")},
		{"read the policy snapshot", read("sys/policies/acl/snapshot")},
		{"read Vault's configuration without secrets", read("sys/config/state/sanitized")},
		{"list audit devices", read("sys/audit")},
		{"list mounts", read("sys/mounts")},
		{"mount a tenant's engine", mount("tenant-b")},
		{"tune it", write("sys/mounts/tenant-b/tune", map[string]any{"description": "b"})},
		{"remove it", remove("sys/mounts/tenant-b")},
		{"mount a tenant's database engine", write("sys/mounts/tenant-database/b", map[string]any{"type": "kv"})},
		{"write where its database is", write("tenant-database/b/config/b", map[string]any{"host": "b"})},
		{"write which accounts it gives", write("tenant-database/b/roles/app", map[string]any{"ttl": 60})},
		{"write a tenant's policy", policy("tenant-b")},
		{"enable a tenant's way to log in", write("sys/auth/tenant-b", map[string]any{"type": "approle"})},
		{"write a role of it", write("auth/tenant-b/role/app", map[string]any{"token_policies": "tenant-b"})},
		{"make a group", write("identity/group", map[string]any{"name": "tenant-b"})},
		{"mount an engine to probe", mount("vaultproof-probe")},
		{"write its policy", policy("vaultproof-probe")},
		{"write its token role", write("auth/token/roles/vaultproof-probe", map[string]any{"allowed_policies": "vaultproof-probe", "orphan": true})},
		{"make a token of it", func(c *api.Client) error {
			_, err := c.Auth().Token().CreateWithRole(&api.TokenCreateRequest{Policies: []string{"vaultproof-probe"}, TTL: "5m"}, "vaultproof-probe")
			return err
		}},
	},
	Handover: {
		{"renew itself", renewSelf},
	},
	Snapshot: {
		{"renew itself", renewSelf},
		{"take a snapshot", snapshot},
	},
	"admin": {
		{"list audit devices", read("sys/audit")},
		{"list mounts", read("sys/mounts")},
		{"write a policy", policy("anything")},
		{"list tokens", list("auth/token/accessors")},
		{"enable a way to log in", write("sys/auth/people", map[string]any{"type": "userpass"})},
		{"make a group", write("identity/group", map[string]any{"name": "people"})},
		{"see how a root token is being made", read("sys/generate-root/attempt")},
	},
}

var mayNot = map[string]map[string]attempt{
	Provisioner: {
		"read a tenant's data":                    read("tenant-a/data/x"),
		"list a tenant's data":                    list("tenant-a/metadata"),
		"have an account of a tenant's database":  read("tenant-database/b/creds/app"),
		"read the data of the probe":              read("vaultproof-probe/data/x"),
		"read storage":                            read("sys/raw/core/keyring"),
		"seal":                                    func(c *api.Client) error { return c.Sys().Seal() },
		"step the active Vault down":              func(c *api.Client) error { return c.Sys().StepDown() },
		"rewrite the policy admin":                policy("admin"),
		"rewrite its own policy":                  policy(Provisioner),
		"rewrite the policy handover":             policy(Handover),
		"rewrite the policy snapshot":             policy(Snapshot),
		"delete the policy admin":                 remove("sys/policies/acl/admin"),
		"write another policy":                    policy("else"),
		"rewrite its own role":                    write("auth/token/roles/provisioner", map[string]any{"allowed_policies": "admin"}),
		"rewrite the role handover":               write("auth/token/roles/handover", map[string]any{"allowed_policies": "admin"}),
		"rewrite the role snapshot":               write("auth/token/roles/snapshot", map[string]any{"allowed_policies": "admin"}),
		"delete its own role":                     remove("auth/token/roles/provisioner"),
		"write another token role":                write("auth/token/roles/else", map[string]any{"allowed_policies": Provisioner}),
		"make an admin through its role":          child(Provisioner, "admin"),
		"make an admin through the role handover": child(Handover, "admin"),
		"make an admin through the role snapshot": child(Snapshot, "admin"),
		"make a root token through its role":      child(Provisioner, "root"),
		"make a default token through its role":   child(Provisioner, "default"),
		"make a child of policy admin":            child("", "admin"),
		"make a child of policy default":          child("", "default"),
		"make an orphan without a role":           orphan,
		"mount under another name":                mount("else"),
		"remove another's mount":                  remove("sys/mounts/other"),
		"enable a way to log in by another name":  write("sys/auth/else", map[string]any{"type": "approle"}),
		"enable an audit device":                  write("sys/audit/else", map[string]any{"type": "file", "options": map[string]any{"file_path": "stdout"}}),
		"remove an audit device":                  remove("sys/audit/file"),
		"list tokens":                             list("auth/token/accessors"),
		"take a snapshot":                         snapshot,
		"restore a snapshot":                      restore,
		"revoke by prefix":                        write("sys/leases/revoke-prefix/auth", nil),
	},
	Handover: {
		"seal":                       func(c *api.Client) error { return c.Sys().Seal() },
		"read a tenant's data":       read("tenant-a/data/x"),
		"list mounts":                read("sys/mounts"),
		"make a child":               child("", Handover),
		"make its successor":         child(Handover, Handover),
		"make a provisioner token":   child(Provisioner, Provisioner),
		"read its policy":            read("sys/policies/acl/handover"),
		"rewrite its policy":         policy(Handover),
		"read Vault's configuration": read("sys/config/state/sanitized"),
		"rotate the key":             write("sys/rotate", nil),
		"take a snapshot":            snapshot,
	},
	Snapshot: {
		"seal":                       func(c *api.Client) error { return c.Sys().Seal() },
		"step the active Vault down": func(c *api.Client) error { return c.Sys().StepDown() },
		"restore a snapshot":         restore,
		"read a tenant's data":       read("tenant-a/data/x"),
		"read storage":               read("sys/raw/core/keyring"),
		"read raft's configuration":  read("sys/storage/raft/configuration"),
		"list mounts":                read("sys/mounts"),
		"make a child":               child("", Snapshot),
		"make its successor":         child(Snapshot, Snapshot),
		"make a provisioner token":   child(Provisioner, Provisioner),
		"read its policy":            read("sys/policies/acl/snapshot"),
		"rewrite its policy":         policy(Snapshot),
	},
	"admin": {
		"read a tenant's data": read("tenant-a/data/x"),
		"list a tenant's data": list("tenant-a/metadata"),
		"read storage":         read("sys/raw/core/keyring"),
		"write storage":        write("sys/raw/core/x", map[string]any{"value": "x"}),
	},
}

// TestMatrix tries with a real Vault what each policy allows and refuses.
func TestMatrix(t *testing.T) {
	v := vaulttest.Start(t)
	root := v.Root()
	hcl, err := Load("")
	must(t, err)
	for _, name := range Names {
		must(t, root.Sys().PutPolicy(name, hcl[name]))
		must(t, write("auth/token/roles/"+name, map[string]any{"allowed_policies": name, "orphan": true,
			"token_no_default_policy": true, "token_period": "1h"})(root))
	}
	must(t, remove("auth/token/roles/admin")(root))
	must(t, mount("tenant-a")(root))
	must(t, mount("other")(root))
	must(t, write("tenant-a/data/x", map[string]any{"data": map[string]any{"k": "v"}})(root))

	for _, name := range Names {
		s, err := root.Auth().Token().CreateOrphan(&api.TokenCreateRequest{Policies: []string{name}, NoDefaultPolicy: true, Period: "1h"})
		must(t, err)
		c := v.Client(s.Auth.ClientToken)
		for _, one := range may[name] {
			if err := one.try(c); err != nil {
				t.Errorf("%s may not %s: %v", name, one.what, err)
			}
		}
		for what, try := range mayNot[name] {
			if err := try(c); err == nil {
				t.Errorf("%s may %s", name, what)
			} else if !refused(err) {
				t.Errorf("%s: %s: refused, but for the wrong reason: %v", name, what, err)
			}
		}
	}
	t.Run("what must not be allowed is refused by the policy, not by chance", func(t *testing.T) {
		for _, what := range []string{"read a tenant's data", "list a tenant's data", "take a snapshot", "restore a snapshot"} {
			if err := mayNot[Provisioner][what](root); err != nil {
				t.Errorf("nobody may %s: %v", what, err)
			}
		}
	})
	t.Run("handover makes the active Vault step down", func(t *testing.T) {
		s, err := root.Auth().Token().CreateOrphan(&api.TokenCreateRequest{Policies: []string{Handover}, NoDefaultPolicy: true})
		must(t, err)
		must(t, v.Client(s.Auth.ClientToken).Sys().StepDown())
	})
}

// refused: Vault's 403, or its 400 to a token that would be more than its maker.
func refused(err error) bool {
	var answer *api.ResponseError
	return errors.As(err, &answer) && (answer.StatusCode == http.StatusForbidden || answer.StatusCode == http.StatusBadRequest)
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

package conformance

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"time"

	"github.com/hashicorp/vault/api"
	"k8s.io/apimachinery/pkg/util/wait"

	"github.com/vaultproof/vaultproof/pkg/probe"
	"github.com/vaultproof/vaultproof/pkg/target"
)

// probeName names all that the load gets in Vault: its kv mount, its policy and
// its token role. The provisioner policy of the stack allows just that, and names
// that begin with it.
const probeName = "vaultproof-probe"

// The secrets engines of the load beside kv.
const (
	transitMount = probeName + "-transit"
	sshMount     = probeName + "-ssh"
)

// probeTokenLife is how long the token of the load lives. It is not renewed: a
// token that outlives its run is a leak.
const probeTokenLife = "4h"

// probePolicy lets the load use its own mounts, have children that may do nothing
// it may not do, look after the leases that it has, and ask for the raft term, and
// nothing else.
const probePolicy = `path "` + probeName + `/data/*" { capabilities = ["create", "read", "update"] }
path "` + probeName + `/metadata/*" { capabilities = ["read", "list", "delete"] }
path "` + transitMount + `/encrypt/` + probe.TransitKey + `" { capabilities = ["create", "update"] }
path "` + transitMount + `/decrypt/` + probe.TransitKey + `" { capabilities = ["update"] }
path "` + sshMount + `/roles/` + probe.LeaseRole + `" { capabilities = ["create", "update"] }
path "` + sshMount + `/creds/` + probe.LeaseRole + `" { capabilities = ["update"] }
path "auth/token/create" { capabilities = ["update"] }
path "sys/leases/lookup" {
  capabilities = ["update"]
  allowed_parameters = { "lease_id" = ["` + sshMount + `/*"] }
}
path "sys/leases/revoke" {
  capabilities = ["update"]
  allowed_parameters = { "lease_id" = ["` + sshMount + `/*"], "sync" = [] }
}
path "sys/storage/raft/autopilot/state" { capabilities = ["read"] }
`

// provisioned is what the load got in Vault. The token is never printed.
type provisioned struct {
	token   string
	target  *target.Target
	mounts  []string // beside kv
	engines probe.Engines
	leftOut []string // what the target does not allow, and why
}

// WithProvisioner calls f with a client of the active pod that bears the
// provisioner token from custody. Without custody it is target.ErrNoCustody.
func WithProvisioner(ctx context.Context, t *target.Target, f func(*api.Client) error) error {
	token, err := t.Secret(ctx, target.ProvisionerTokenSecret)
	if err != nil {
		return err
	}
	active, err := t.Active(ctx)
	if err != nil {
		return err
	}
	client, closeClient, err := t.Pod(ctx, active.Pod.Name)
	if err != nil {
		return err
	}
	defer closeClient()
	client.SetToken(string(token))
	return f(client)
}

// provision prepares a kv mount, a policy and a token for the load, with the
// provisioner token, and the other secrets engines as far as that may. What a run
// that died has left is taken over.
func provision(ctx context.Context, t *target.Target) (*provisioned, error) {
	p := &provisioned{target: t}
	err := WithProvisioner(ctx, t, func(c *api.Client) error { return p.prepare(ctx, c) })
	if err != nil {
		return nil, fmt.Errorf("preparing Vault for the load with the provisioner token: %w", err)
	}
	return p, nil
}

// prepare does it with a client that bears the provisioner token.
func (p *provisioned) prepare(ctx context.Context, c *api.Client) error {
	if err := ensureMount(ctx, c, probeName, &api.MountInput{Type: "kv", Options: map[string]string{"version": "2"}}); err != nil {
		return err
	}
	if err := c.Sys().PutPolicyWithContext(ctx, probeName, probePolicy); err != nil {
		return fmt.Errorf("writing policy %s: %w", probeName, err)
	}
	_, err := c.Logical().WriteWithContext(ctx, "auth/token/roles/"+probeName, map[string]any{
		"allowed_policies":       []string{probeName},
		"orphan":                 true,
		"renewable":              false,
		"token_explicit_max_ttl": probeTokenLife,
		"token_type":             "service",
	})
	if err != nil {
		return fmt.Errorf("writing token role %s: %w", probeName, err)
	}
	secret, err := c.Logical().WriteWithContext(ctx, "auth/token/create/"+probeName, map[string]any{
		"policies": []string{probeName}, "ttl": probeTokenLife,
	})
	if err != nil {
		return fmt.Errorf("creating a token with role %s: %w", probeName, err)
	}
	if secret == nil || secret.Auth == nil || secret.Auth.ClientToken == "" {
		return fmt.Errorf("creating a token with role %s: Vault answered without one", probeName)
	}
	p.token = secret.Auth.ClientToken
	load, err := c.Clone()
	if err != nil {
		return fmt.Errorf("preparing a client with the token of the load: %w", err)
	}
	load.SetToken(p.token)
	// A first write to kv; a new mount refuses for a moment while it sets itself
	// up.
	if err := firstWrite(ctx, load, probeName+"/data/ready", map[string]any{"data": map[string]any{"ready": true}}); err != nil {
		return err
	}
	p.addEngines(ctx, c, load)
	return nil
}

// engine is a secrets engine that the load can do without.
type engine struct {
	kind  string // of operations that need it
	path  string
	input api.MountInput
	// first is written with the token of the load before anything else.
	first string
	data  map[string]any
	ready func(*probe.Engines)
}

// engines are those beside kv.
func engines() []engine {
	return []engine{
		{
			kind: "transit", path: transitMount, input: api.MountInput{Type: "transit"},
			first: transitMount + "/encrypt/" + probe.TransitKey, data: map[string]any{"plaintext": "cmVhZHk="},
			ready: func(e *probe.Engines) { e.Transit = transitMount },
		},
		{
			// The leases of one-time passwords: nothing is connected to.
			kind: "leases", path: sshMount,
			input: api.MountInput{Type: "ssh", Config: api.MountConfigInput{DefaultLeaseTTL: "1h", MaxLeaseTTL: probeTokenLife}},
			first: sshMount + "/roles/" + probe.LeaseRole,
			data:  map[string]any{"key_type": "otp", "default_user": "nobody", "cidr_list": probe.LeaseHost + "/32"},
			ready: func(e *probe.Engines) { e.SSH = sshMount },
		},
	}
}

// addEngines mounts the other secrets engines. One that the target does not allow
// leaves its kind of operations out.
func (p *provisioned) addEngines(ctx context.Context, provisioner, load *api.Client) {
	for _, e := range engines() {
		err := ensureMount(ctx, provisioner, e.path, &e.input)
		if err == nil {
			p.mounts = append(p.mounts, e.path)
			err = firstWrite(ctx, load, e.first, e.data)
		}
		if err != nil {
			p.leftOut = append(p.leftOut, fmt.Sprintf("%s: %v", e.kind, err))
			continue
		}
		e.ready(&p.engines)
	}
}

func ensureMount(ctx context.Context, c *api.Client, path string, input *api.MountInput) error {
	input.Description = "load of vaultproof, safe to delete"
	err := c.Sys().MountWithContext(ctx, path, input)
	if answered(err, http.StatusBadRequest) {
		return nil // the path is in use: left by a run that died
	}
	if err != nil {
		return fmt.Errorf("mounting %s at %s/: %w", input.Type, path, err)
	}
	return nil
}

// firstWrite writes to a mount that may be new, and tries again while it sets itself
// up. What is denied stays so.
func firstWrite(ctx context.Context, load *api.Client, path string, data map[string]any) error {
	ctx, cancel := context.WithTimeout(ctx, 20*time.Second)
	defer cancel()
	var last error
	err := wait.PollUntilContextCancel(ctx, 250*time.Millisecond, true, func(ctx context.Context) (bool, error) {
		_, last = load.Logical().WriteWithContext(ctx, path, data)
		if answered(last, http.StatusForbidden) {
			return false, last
		}
		return last == nil, nil
	})
	if err != nil {
		return fmt.Errorf("a first write to %s: %w", path, errors.Join(err, last))
	}
	return nil
}

// unmountTimeout is what taking down the mounts may take: Vault deletes the
// versions of every key one by one, each through raft.
const unmountTimeout = 90 * time.Second

// remove takes away what provision made, the token first, and with it its children
// and their leases. It can be repeated: what is gone already is no error.
func (p *provisioned) remove(ctx context.Context) error {
	return WithProvisioner(ctx, p.target, func(c *api.Client) error { return p.takeAway(ctx, c) })
}

// takeAway does it with a client that bears the provisioner token.
func (p *provisioned) takeAway(ctx context.Context, c *api.Client) error {
	c.SetClientTimeout(unmountTimeout)
	var errs []error
	note := func(what string, err error) {
		if err != nil {
			errs = append(errs, fmt.Errorf("%s: %w", what, err))
		}
	}
	load, err := c.Clone()
	note("preparing a client with the token of the load", err)
	if err == nil {
		load.SetToken(p.token)
		// Vault does not know the token (any more): it is gone.
		if err := load.Auth().Token().RevokeSelfWithContext(ctx, ""); !answered(err, http.StatusForbidden) {
			note("revoking the token of the load", err)
		}
	}
	_, err = c.Logical().DeleteWithContext(ctx, "auth/token/roles/"+probeName)
	note("deleting token role "+probeName, err)
	note("deleting policy "+probeName, c.Sys().DeletePolicyWithContext(ctx, probeName))
	for _, path := range append([]string{probeName}, p.mounts...) {
		note("unmounting "+path+"/", c.Sys().UnmountWithContext(ctx, path))
	}
	return errors.Join(errs...)
}

// answered tells whether Vault answered with a status.
func answered(err error, status int) bool {
	var answer *api.ResponseError
	return errors.As(err, &answer) && answer.StatusCode == status
}

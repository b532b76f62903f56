package conformance

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"time"

	"github.com/hashicorp/vault/api"
	"k8s.io/apimachinery/pkg/util/wait"

	"github.com/vaultproof/vaultproof/pkg/target"
)

// probeName names all that the load gets in Vault: its kv mount, its policy and
// its token role. The provisioner policy of the stack allows just that.
const probeName = "vaultproof-probe"

// probeTokenLife is how long the token of the load lives. It is not renewed: a
// token that outlives its run is a leak.
const probeTokenLife = "4h"

// probePolicy lets the load read and write its own mount and nothing else.
const probePolicy = `path "` + probeName + `/data/*" { capabilities = ["create", "read", "update"] }
path "` + probeName + `/metadata/*" { capabilities = ["read", "list", "delete"] }
`

// provisioned is what the load got in Vault. The token is never printed.
type provisioned struct {
	token  string
	target *target.Target
}

// withProvisioner calls f with a client of the active pod that bears the
// provisioner token from custody.
func withProvisioner(ctx context.Context, t *target.Target, f func(*api.Client) error) error {
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
// provisioner token. What a run that died has left is taken over.
func provision(ctx context.Context, t *target.Target) (*provisioned, error) {
	p := &provisioned{target: t}
	err := withProvisioner(ctx, t, func(c *api.Client) error {
		if err := ensureMount(ctx, c); err != nil {
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
		return p.awaitUsable(ctx, c)
	})
	if err != nil {
		return nil, fmt.Errorf("preparing Vault for the load with the provisioner token: %w", err)
	}
	return p, nil
}

func ensureMount(ctx context.Context, c *api.Client) error {
	err := c.Sys().MountWithContext(ctx, probeName, &api.MountInput{
		Type: "kv", Description: "load of vaultproof, safe to delete", Options: map[string]string{"version": "2"},
	})
	var answer *api.ResponseError
	if errors.As(err, &answer) && answer.StatusCode == http.StatusBadRequest {
		return nil // the path is in use: left by a run that died
	}
	if err != nil {
		return fmt.Errorf("mounting kv at %s/: %w", probeName, err)
	}
	return nil
}

// awaitUsable writes once through the token: a new kv mount refuses for a
// moment while it sets itself up.
func (p *provisioned) awaitUsable(ctx context.Context, c *api.Client) error {
	load, err := c.Clone()
	if err != nil {
		return fmt.Errorf("preparing a client with the token of the load: %w", err)
	}
	load.SetToken(p.token)
	ctx, cancel := context.WithTimeout(ctx, 20*time.Second)
	defer cancel()
	var last error
	err = wait.PollUntilContextCancel(ctx, 250*time.Millisecond, true, func(ctx context.Context) (bool, error) {
		_, last = load.Logical().WriteWithContext(ctx, probeName+"/data/ready", map[string]any{
			"data": map[string]any{"ready": true},
		})
		return last == nil, nil
	})
	if err != nil {
		return fmt.Errorf("a first write to %s/: %w", probeName, errors.Join(err, last))
	}
	return nil
}

// unmountTimeout is what taking down the mount may take: Vault deletes the
// versions of every key one by one, each through raft.
const unmountTimeout = 90 * time.Second

// remove takes away what provision made, the token first. It can be repeated:
// what is gone already is no error.
func (p *provisioned) remove(ctx context.Context) error {
	return withProvisioner(ctx, p.target, func(c *api.Client) error {
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
			if err := load.Auth().Token().RevokeSelfWithContext(ctx, ""); !refusedToken(err) {
				note("revoking the token of the load", err)
			}
		}
		_, err = c.Logical().DeleteWithContext(ctx, "auth/token/roles/"+probeName)
		note("deleting token role "+probeName, err)
		note("deleting policy "+probeName, c.Sys().DeletePolicyWithContext(ctx, probeName))
		note("unmounting "+probeName+"/", c.Sys().UnmountWithContext(ctx, probeName))
		return errors.Join(errs...)
	})
}

// refusedToken tells whether Vault does not know the token (any more).
func refusedToken(err error) bool {
	var answer *api.ResponseError
	return errors.As(err, &answer) && answer.StatusCode == http.StatusForbidden
}

package alert

import (
	"context"
	"errors"
	"fmt"

	"github.com/hashicorp/vault/api"

	"github.com/vaultproof/vaultproof/pkg/target"
)

// accessName names what the recorder gets in Vault: a policy and a token role. The
// provisioner policy of the stack allows just such names.
const accessName = "vaultproof-metrics"

// accessLife is how long its token lives. It is not renewed: a token that outlives
// its run is a leak.
const accessLife = "12h"

// accessPolicy reads metrics, and lets the token end itself.
const accessPolicy = `path "sys/metrics" { capabilities = ["read"] }
path "auth/token/revoke-self" { capabilities = ["update"] }
`

// access is the recorder's token. It is never printed.
type access struct{ token string }

// grant makes the token with the provisioner token from custody. What a run that
// died has left is taken over.
func grant(ctx context.Context, t *target.Target) (*access, error) {
	granted := &access{}
	err := asProvisioner(ctx, t, func(c *api.Client) error { return granted.make(ctx, c) })
	if err != nil {
		return nil, fmt.Errorf("getting a token that reads Vault's metrics: %w", err)
	}
	return granted, nil
}

func (a *access) make(ctx context.Context, c *api.Client) error {
	if err := c.Sys().PutPolicyWithContext(ctx, accessName, accessPolicy); err != nil {
		return fmt.Errorf("writing policy %s: %w", accessName, err)
	}
	if _, err := c.Logical().WriteWithContext(ctx, "auth/token/roles/"+accessName, map[string]any{
		"allowed_policies": []string{accessName}, "orphan": true, "renewable": false,
		"token_explicit_max_ttl": accessLife, "token_no_default_policy": true, "token_type": "service",
	}); err != nil {
		return fmt.Errorf("writing token role %s: %w", accessName, err)
	}
	secret, err := c.Logical().WriteWithContext(ctx, "auth/token/create/"+accessName, map[string]any{
		"policies": []string{accessName}, "ttl": accessLife,
	})
	if err != nil {
		return fmt.Errorf("creating a token with role %s: %w", accessName, err)
	}
	if secret == nil || secret.Auth == nil || secret.Auth.ClientToken == "" {
		return fmt.Errorf("creating a token with role %s: Vault answered without one", accessName)
	}
	a.token = secret.Auth.ClientToken
	return nil
}

// withdraw revokes the token and removes the rest.
func (a *access) withdraw(ctx context.Context, t *target.Target) error {
	return asProvisioner(ctx, t, func(c *api.Client) error { return a.remove(ctx, c) })
}

func (a *access) remove(ctx context.Context, c *api.Client) error {
	var errs []error
	note := func(what string, err error) {
		if err != nil {
			errs = append(errs, fmt.Errorf("%s: %w", what, err))
		}
	}
	own, err := c.Clone()
	note("preparing a client with the token of the recorder", err)
	if err == nil {
		own.SetToken(a.token)
		note("revoking the token of the recorder", own.Auth().Token().RevokeSelfWithContext(ctx, ""))
	}
	_, err = c.Logical().DeleteWithContext(ctx, "auth/token/roles/"+accessName)
	note("deleting token role "+accessName, err)
	note("deleting policy "+accessName, c.Sys().DeletePolicyWithContext(ctx, accessName))
	return errors.Join(errs...)
}

// asProvisioner calls do with a client of the active pod that bears the
// provisioner token from custody.
func asProvisioner(ctx context.Context, t *target.Target, do func(*api.Client) error) error {
	token, err := t.Secret(ctx, target.ProvisionerTokenSecret)
	if err != nil {
		return err
	}
	defer clear(token)
	active, err := t.Active(ctx)
	if err != nil {
		return err
	}
	client, done, err := t.Pod(ctx, active.Pod.Name)
	if err != nil {
		return err
	}
	defer done()
	client.SetToken(string(token))
	return do(client)
}

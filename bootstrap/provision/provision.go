// Package provision brings an open Vault to the state that people may rely on:
// policies, audit devices, and a provisioner token in custody. It looks before
// it writes, so that on a provisioned Vault it changes nothing.
package provision

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"path"
	"strings"
	"time"

	"github.com/hashicorp/vault/api"
	"github.com/vaultproof/vaultproof/bootstrap/failpoint"
	"github.com/vaultproof/vaultproof/bootstrap/keys"
	"github.com/vaultproof/vaultproof/bootstrap/policies"
	"github.com/vaultproof/vaultproof/bootstrap/vault"
	"github.com/vaultproof/vaultproof/pkg/custody"
)

// Provisioner provisions one Vault.
type Provisioner struct {
	Vault    *vault.Client
	Ring     *keys.Ring
	Policies map[string]string // name to HCL
	Period   time.Duration     // of the provisioner token
	// AuditFiles are paths on Vault's side, or "stdout"; one file device each.
	AuditFiles []string
	KeepRoot   bool // leave the root token alive
	Log        *slog.Logger
}

// Result of a pass.
type Result struct {
	RenewIn time.Duration // until the provisioner token is due
	// Reservation says what could not be checked although the token is good.
	Reservation string
}

// Ensure checks everything and mends what differs.
//
// An error that is ErrDead means that there is no live provisioner token; any
// other, that this is not known.
func (p *Provisioner) Ensure(ctx context.Context) (Result, error) {
	token, err := p.lookup(ctx)
	if err != nil {
		return Result{}, err
	}
	r, err := p.ensure(ctx, token)
	if err != nil && !token.alive {
		err = fmt.Errorf("%w: %w", ErrDead, err)
	}
	return r, err
}

func (p *Provisioner) ensure(ctx context.Context, token token) (Result, error) {
	root, why, err := p.root(ctx)
	if err != nil {
		return Result{}, err
	}
	if root == nil {
		if !token.alive {
			return Result{}, fmt.Errorf("secret %s needs a new one, and there is no root token to make it with (%s): "+
				"make a root token with the shares (vault operator generate-root) and store it as a new version of secret %s",
				p.Ring.Provisioner(), why, p.Ring.Root())
		}
		r := Result{RenewIn: token.due()}
		if p.KeepRoot {
			r.Reservation = "policies and audit devices were not checked, because there is no live root token (" + why + ")"
		}
		return r, nil
	}
	if err := p.policies(ctx, root); err != nil {
		return Result{}, err
	}
	if err := p.audit(ctx, root); err != nil {
		return Result{}, err
	}
	if !token.alive {
		if token, err = p.issue(ctx, root); err != nil {
			return Result{}, err
		}
	}
	if !p.KeepRoot {
		if err := root.Auth().Token().RevokeSelfWithContext(ctx, ""); err != nil {
			return Result{}, fmt.Errorf("revoking the root token: %w", err)
		}
		p.Log.Info("root token revoked; make another with the shares if it is ever needed", "secret", p.Ring.Root())
	}
	return Result{RenewIn: token.due()}, nil
}

// root gives a client with the root token, or nil and the reason why there is
// no live one.
func (p *Provisioner) root(ctx context.Context) (client *api.Client, why string, err error) {
	raw, err := p.Ring.Get(ctx, p.Ring.Root())
	if errors.Is(err, custody.ErrNotFound) {
		return nil, err.Error(), nil
	} else if err != nil {
		return nil, "", err
	}
	defer clear(raw)
	client, err = p.Vault.As(raw)
	if err != nil {
		return nil, "", err
	}
	if _, err := client.Auth().Token().LookupSelfWithContext(ctx); vault.Denied(err) {
		return nil, "the one in secret " + p.Ring.Root() + " was revoked", nil
	} else if err != nil {
		return nil, "", fmt.Errorf("looking the root token up: %w", err)
	}
	return client, "", nil
}

func (p *Provisioner) policies(ctx context.Context, root *api.Client) error {
	for _, name := range policies.Names {
		want := p.Policies[name]
		have, err := root.Sys().GetPolicyWithContext(ctx, name)
		if err != nil {
			return fmt.Errorf("reading policy %s: %w", name, err)
		}
		if strings.TrimSpace(have) == strings.TrimSpace(want) {
			continue
		}
		if err := root.Sys().PutPolicyWithContext(ctx, name, want); err != nil {
			return fmt.Errorf("writing policy %s: %w", name, err)
		}
		failpoint.Hit("after-policy-" + name)
		p.Log.Info("policy written", "policy", name, "replaced", have != "")
	}
	return nil
}

func (p *Provisioner) audit(ctx context.Context, root *api.Client) error {
	if len(p.AuditFiles) == 0 {
		return nil
	}
	have, err := root.Sys().ListAuditWithContext(ctx)
	if err != nil {
		return fmt.Errorf("listing audit devices: %w", err)
	}
	files := map[string]bool{}
	for _, a := range have {
		if a.Type == "file" {
			files[a.Options["file_path"]] = true
		}
	}
	for _, file := range p.AuditFiles {
		if files[file] {
			continue
		}
		err := root.Sys().EnableAuditWithOptionsWithContext(ctx, auditName(file), &api.EnableAuditOptions{
			Type:        "file",
			Description: "kept by the bootstrap sidecar",
			Options:     map[string]string{"file_path": file},
		})
		if err != nil {
			return fmt.Errorf("enabling the audit device for %s (Vault must be able to write there, on every pod): %w", file, err)
		}
		p.Log.Info("audit device enabled", "file", file)
	}
	return nil
}

// auditName is the mount of a file's device: file-<base name without ending>.
func auditName(file string) string {
	base := path.Base(file)
	return "file-" + strings.TrimSuffix(base, path.Ext(base))
}

// Package provision brings an open Vault to the state that people may rely on:
// policies, audit devices, and two tokens in custody. It looks before
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
	Period   time.Duration     // of the tokens
	// AuditFiles are paths on Vault's side, or "stdout"; one file device each.
	AuditFiles []string
	KeepRoot   bool // leave the root token alive
	Log        *slog.Logger
}

// Result of a pass.
type Result struct {
	RenewIn time.Duration // until the first token is due
	// Reservation says what could not be checked or mended although the
	// provisioner token is good.
	Reservation string
}

// Ensure checks everything and mends what differs.
//
// An error that is ErrDead means that there is no live provisioner token; any
// other, that this is not known.
func (p *Provisioner) Ensure(ctx context.Context) (Result, error) {
	var have tokens
	for _, k := range kinds {
		t, err := p.lookup(ctx, k)
		if err != nil {
			return Result{}, err
		}
		have = append(have, t)
	}
	r, err := p.ensure(ctx, have)
	if err != nil && !have.of(provisioner).alive {
		err = fmt.Errorf("%w: %w", ErrDead, err)
	}
	return r, err
}

func (p *Provisioner) ensure(ctx context.Context, have tokens) (Result, error) {
	root, why, err := p.root(ctx)
	if err != nil {
		return Result{}, err
	}
	if root == nil {
		return p.rootless(have, why)
	}
	if err := p.policies(ctx, root); err != nil {
		return Result{}, err
	}
	if err := p.audit(ctx, root); err != nil {
		return Result{}, err
	}
	if err := p.replace(ctx, root, have); err != nil {
		return Result{}, err
	}
	if !p.KeepRoot {
		if err := root.Auth().Token().RevokeSelfWithContext(ctx, ""); err != nil {
			return Result{}, fmt.Errorf("revoking the root token: %w", err)
		}
		p.Log.Info("root token revoked; make another with the shares if it is ever needed", "secret", p.Ring.Root())
	}
	return Result{RenewIn: have.due()}, nil
}

// rootless judges what there is when nothing can be made anew. Only the
// provisioner token is indispensable.
func (p *Provisioner) rootless(have tokens, why string) (Result, error) {
	const mend = "make a root token with the shares (vault operator generate-root) and store it as a new version of secret "
	if !have.of(provisioner).alive {
		return Result{}, fmt.Errorf("secret %s needs a new one, and there is no root token to make it with (%s): "+mend+"%s",
			p.Ring.Provisioner(), why, p.Ring.Root())
	}
	r := Result{RenewIn: have.due()}
	var but []string
	if p.KeepRoot {
		but = append(but, "policies and audit devices were not checked, because there is no live root token ("+why+")")
	}
	if !have.of(stepDown).alive {
		but = append(but, fmt.Sprintf("secret %s needs a new one, and there is no root token to make it with (%s), so a stop of the active Vault "+
			"may leave the cluster without one for a few seconds: "+mend+"%s", p.Ring.Handover(), why, p.Ring.Root()))
		r.RenewIn = min(r.RenewIn, lookAgain)
	}
	r.Reservation = strings.Join(but, "; ")
	return r, nil
}

// replace makes a new token for every one that is not alive, and puts it into
// have. All are tried, whatever becomes of the first.
func (p *Provisioner) replace(ctx context.Context, root *api.Client, have tokens) error {
	var errs []error
	for i, k := range kinds {
		if have[i].alive {
			continue
		}
		t, err := p.issue(ctx, root, k)
		errs = append(errs, err)
		if err == nil {
			have[i] = t
		}
	}
	return errors.Join(errs...)
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

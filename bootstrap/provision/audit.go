package provision

import (
	"context"
	"fmt"
	"path"
	"strings"

	"github.com/hashicorp/vault/api"
	"github.com/vaultproof/vaultproof/bootstrap/failpoint"
)

// audit enables a device for each of AuditFiles that has none.
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
		failpoint.Hit("before-audit-" + auditName(file))
		err := root.Sys().EnableAuditWithOptionsWithContext(ctx, auditName(file), &api.EnableAuditOptions{
			Type:        "file",
			Description: "kept by the bootstrap sidecar",
			Options:     map[string]string{"file_path": file},
		})
		if err != nil {
			return fmt.Errorf("enabling the audit device for %s (Vault must be able to write there, on every pod): %w", file, err)
		}
		failpoint.Hit("after-audit-" + auditName(file))
		p.Log.Info("audit device enabled", "file", file)
	}
	return nil
}

// auditName is the mount of a file's device: file-<base name without ending>.
func auditName(file string) string {
	base := path.Base(file)
	return "file-" + strings.TrimSuffix(base, path.Ext(base))
}

package provision

import (
	"context"
	"fmt"
	"path"
	"slices"
	"strings"

	"github.com/hashicorp/vault/api"
	"github.com/vaultproof/vaultproof/bootstrap/failpoint"
)

// withoutDevice are those of AuditFiles that have no device. Devices of other files, or
// of other kinds, are somebody else's.
func (p *Provisioner) withoutDevice(ctx context.Context, as *api.Client) (files []string, err error) {
	if len(p.AuditFiles) == 0 {
		return nil, nil
	}
	have, err := as.Sys().ListAuditWithContext(ctx)
	if err != nil {
		return nil, fmt.Errorf("listing audit devices: %w", err)
	}
	written := map[string]bool{}
	for _, a := range have {
		if a.Type == "file" {
			written[a.Options["file_path"]] = true
		}
	}
	return slices.DeleteFunc(slices.Clone(p.AuditFiles), func(file string) bool { return written[file] }), nil
}

// audit enables a device for each of AuditFiles that has none.
func (p *Provisioner) audit(ctx context.Context, root *api.Client) error {
	files, err := p.withoutDevice(ctx, root)
	if err != nil {
		return err
	}
	for _, file := range files {
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

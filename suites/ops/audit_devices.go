package ops

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/hashicorp/vault/api"
)

// device is one audit device.
type device struct {
	path    string // of its mount, without the last slash
	kind    string
	options map[string]string
	audit   *api.Audit
}

// stdout is where a file device may write to instead of a file; what it writes is in
// the container's log.
func (d device) stdout() bool {
	return d.kind == "file" && strings.EqualFold(d.options["file_path"], "stdout")
}

// file is the path of the device's file in Vault's container; empty if it has none.
func (d device) file() string {
	if d.kind != "file" || d.stdout() || strings.EqualFold(d.options["file_path"], "discard") {
		return ""
	}
	return d.options["file_path"]
}

// sink is where its records go.
func (d device) sink() string {
	if d.kind == "file" {
		return "file " + d.options["file_path"]
	}
	return strings.TrimSpace(d.kind + " " + d.options["address"])
}

func (d device) String() string { return d.path + " (" + d.sink() + ")" }

// devices lists the audit devices by path.
func devices(ctx context.Context, root *api.Client) ([]device, error) {
	list, err := root.Sys().ListAuditWithContext(ctx)
	if err != nil {
		return nil, fmt.Errorf("reading sys/audit: %w", err)
	}
	var found []device
	for _, path := range slices.Sorted(maps.Keys(list)) {
		a := list[path]
		found = append(found, device{path: strings.TrimSuffix(path, "/"), kind: a.Type, options: a.Options, audit: a})
	}
	return found, nil
}

// redundant judges that losing one device leaves another: two sinks that keep
// anything.
func redundant(list []device) error {
	sinks := map[string]bool{}
	var words []string
	for _, d := range list {
		words = append(words, d.String())
		if d.sink() != "file discard" {
			sinks[d.sink()] = true
		}
	}
	if len(sinks) >= 2 {
		return nil
	}
	return fmt.Errorf("sys/audit lists %d audit devices with %d places that keep records (%s), want 2 at least: with one device a full disk stops Vault (audit/index.mdx)",
		len(list), len(sinks), strings.Join(words, ", "))
}

// enable makes a device again, as it was.
func (d device) enable(ctx context.Context, root *api.Client) error {
	err := root.Sys().EnableAuditWithOptionsWithContext(ctx, d.path, &api.EnableAuditOptions{
		Type: d.kind, Description: d.audit.Description, Options: d.options, Local: d.audit.Local,
	})
	if err != nil {
		return fmt.Errorf("enabling the audit device %s again: %w", d, err)
	}
	return nil
}

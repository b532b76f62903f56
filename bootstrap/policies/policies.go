// Package policies holds the policies that the sidecar writes, one HCL
// file each. An operator can replace them by a folder of the same file names.
package policies

import (
	"embed"
	"fmt"
	"io/fs"
	"os"
)

//go:embed admin.hcl provisioner.hcl handover.hcl snapshot.hcl
var embedded embed.FS

// Policies of the tokens that the sidecar keeps in custody.
const (
	Provisioner = "provisioner"
	Handover    = "handover"
	Snapshot    = "snapshot" // there is a token of it only where snapshots are taken
)

// Names of the policies, in the order they are written.
var Names = []string{"admin", Provisioner, Handover, Snapshot}

// Load reads <name>.hcl for every name from dir, or the built-in ones if dir
// is empty.
func Load(dir string) (map[string]string, error) {
	var from fs.FS = embedded
	if dir != "" {
		from = os.DirFS(dir)
	}
	out := map[string]string{}
	for _, name := range Names {
		text, err := fs.ReadFile(from, name+".hcl")
		if err != nil {
			return nil, fmt.Errorf("reading policy %s (put %s.hcl into the folder of -policy-dir %q, or leave the flag out): %w", name, name, dir, err)
		}
		if len(text) == 0 {
			return nil, fmt.Errorf("policy file %s.hcl in %q is empty", name, dir)
		}
		out[name] = string(text)
	}
	return out, nil
}

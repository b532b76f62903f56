// Package terraform carries the Terraform modules: a tenant of Vault, the admins' way to log
// in, and the cluster on Google's Kubernetes Engine that Vault runs in. Package
// pkg/terraform applies them; so do Terraform and OpenTofu by hand, and Atlantis.
package terraform

import (
	"embed"
	"fmt"
	"io/fs"
)

// Names of the modules.
const (
	Tenant = "tenant"
	Admin  = "admin"
	GKE    = "gke"
)

// FS holds the modules, one directory each, and atlantis.yaml. State and providers that
// somebody may have beside them stay out.
//
//go:embed tenant/*.tf admin/*.tf gke/*.tf atlantis.yaml
var FS embed.FS

// Module is the directory of one module.
func Module(name string) (fs.FS, error) {
	files, err := fs.Sub(FS, name)
	if err == nil {
		_, err = fs.Stat(files, "versions.tf")
	}
	if err != nil {
		return nil, fmt.Errorf("there is no Terraform module %q: %w", name, err)
	}
	return files, nil
}

// Package deploy embeds the manifests that are put into a cluster, so that the
// library carries them wherever it is imported.
package deploy

import "embed"

// FS holds the kustomize trees: vault/base is the hardened stack, vault/overlays/<name>
// what a platform changes about it; ingress likewise is the way in from outside.
// certificates is what cert-manager is asked for, where a cluster has it.
//
//go:embed all:vault all:ingress all:certificates
var FS embed.FS

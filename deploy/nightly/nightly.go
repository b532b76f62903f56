// Package nightly carries what runs the suites every night: a CronJob inside the
// cluster, with the rights that it needs and no others, and pipelines for GitHub
// Actions and GitLab to copy. Nothing of it is applied by the deployer.
package nightly

import "embed"

// FS holds the files of this directory: a kustomize tree, and under pipelines the
// examples.
//
//go:embed base overlays pipelines
var FS embed.FS

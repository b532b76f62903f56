// Package tenant carries what runs in the tenants' cluster: a PostgreSQL, and for each
// tenant a namespace with an application and its Vault Agent. Both are kustomize bases. The
// one of the application is that of a tenant called "example": whoever deploys it puts
// another name in its place, and what only a cluster knows.
package tenant

import "embed"

// FS holds the bases postgres and app.
//
//go:embed all:postgres all:app
var FS embed.FS

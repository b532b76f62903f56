// Package tenancy checks that a tenant's workloads, in a cluster of their own, get into
// Vault as themselves and no further: who may log in, what becomes of a token whose owner is
// gone, what one tenant sees of another, and what is left when a tenant's cluster is out of
// reach.
package tenancy

// area of all checks in this package.
const area = "tenancy"

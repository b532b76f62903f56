// Package isolation checks that Vault shares its machines with nobody, that the
// network, the API server and the kernel let nobody near it who has no business
// there, and that it may be evicted without being lost.
package isolation

// area of all checks in this package.
const area = "isolation"

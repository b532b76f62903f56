// Package isolation checks that Vault shares its machines with nobody.
package isolation

// area of all checks in this package.
const area = "isolation"

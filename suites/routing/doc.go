// Package routing checks that clients reach the active Vault pod and no other.
package routing

// area of all checks in this package.
const area = "routing"

// Package tls checks that nothing of Vault is ever said in clear.
package tls

// area of all checks in this package.
const area = "tls"

// Package resilience breaks Vault in one way at a time and judges how long its
// clients suffered and whether a write was lost.
package resilience

// area of all checks in this package.
const area = "resilience"

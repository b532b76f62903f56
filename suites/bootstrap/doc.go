// Package bootstrap checks how Vault comes to life: initialised once, its keys
// in custody, unsealed again after every restart.
package bootstrap

// area of all checks in this package.
const area = "bootstrap"

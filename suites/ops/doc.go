// Package ops checks what those who run Vault depend on: logs, audit, alerts.
package ops

// area of all checks in this package.
const area = "ops"

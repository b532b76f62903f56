# handover: makes the active Vault step down before its pod is stopped, and
# nothing else. The sidecar uses it, and anybody who took its token could cost
# the cluster a second of leadership at a time, but read nothing.

path "sys/step-down" {
  capabilities = ["update", "sudo"]
}

# Its own token: look at it, keep it alive.
path "auth/token/lookup-self" {
  capabilities = ["read"]
}
path "auth/token/renew-self" {
  capabilities = ["update"]
}

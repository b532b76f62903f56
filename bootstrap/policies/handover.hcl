# handover: what the sidecar itself does with a token. It makes the active Vault
# step down before its pod is stopped, and it may begin a break-glass ceremony.
# Anybody who took this token could cost the cluster a second of leadership at a
# time and get in the way of a ceremony, but read nothing.

path "sys/step-down" {
  capabilities = ["update", "sudo"]
}

# Making a root token takes the threshold of shares. From Vault 2.0 on even the
# beginning takes a token, and once the root token is revoked there may be no
# other one.
path "sys/generate-root/attempt" {
  capabilities = ["create", "read", "update", "delete"]
}
path "sys/generate-root/update" {
  capabilities = ["create", "update"]
}

# Its own token: look at it, keep it alive.
path "auth/token/lookup-self" {
  capabilities = ["read"]
}
path "auth/token/renew-self" {
  capabilities = ["update"]
}

# provisioner: sets tenants up with Terraform, and lets the test suites make
# what they need, all by name: tenant-* and vaultproof-*. It reads no tenant's
# data, cannot touch what bears another name, and cannot seal or step down.
# Whoever writes policies and roles can hand out what those policies grant, so
# its token is kept in custody and is as precious as the root token.

# Its own token: look at it, keep it alive. Terraform's provider makes itself a
# short-lived child.
path "auth/token/lookup-self" {
  capabilities = ["read"]
}
path "auth/token/renew-self" {
  capabilities = ["update"]
}
path "auth/token/create" {
  capabilities = ["create", "update"]
}
path "sys/capabilities-self" {
  capabilities = ["update"]
}

# Its own successor, and the other tokens in custody, through a role each that
# fixes what they may be: orphans with a period and this one policy. Sudo lets the period
# show in the token itself; the role still bounds it.
path "auth/token/create/provisioner" {
  capabilities = ["create", "update", "sudo"]
}
path "auth/token/create/handover" {
  capabilities = ["create", "update", "sudo"]
}
path "auth/token/create/snapshot" {
  capabilities = ["create", "update", "sudo"]
}
path "auth/token/roles/provisioner" {
  capabilities = ["read"]
}
path "auth/token/roles/handover" {
  capabilities = ["read"]
}
path "auth/token/roles/snapshot" {
  capabilities = ["read"]
}

# What is there.
path "sys/mounts" {
  capabilities = ["read"]
}
path "sys/auth" {
  capabilities = ["read"]
}

# Who votes in raft, and how Vault is configured, without what is secret in it.
path "sys/storage/raft/configuration" {
  capabilities = ["read"]
}
path "sys/config/state/sanitized" {
  capabilities = ["read"]
}

# What the sidecar has written: a policy that was changed since is found and told
# although there is no root token any more. Read, never write.
path "sys/policies/acl/admin" {
  capabilities = ["read"]
}
path "sys/policies/acl/provisioner" {
  capabilities = ["read"]
}
path "sys/policies/acl/handover" {
  capabilities = ["read"]
}
path "sys/policies/acl/snapshot" {
  capabilities = ["read"]
}
# Which audit devices there are, that too. Vault asks for sudo; making or removing one is
# another path.
path "sys/audit" {
  capabilities = ["read", "sudo"]
}

# Tenants: policies, secrets engines (their mounts and tuning, not their
# content), ways to log in, and groups.
path "sys/policies/acl/tenant-*" {
  capabilities = ["create", "read", "update", "delete"]
}
path "sys/mounts/tenant-*" {
  capabilities = ["create", "read", "update", "delete"]
}
path "sys/auth/tenant-*" {
  capabilities = ["create", "read", "update", "delete", "sudo"]
}
path "auth/tenant-*" {
  capabilities = ["create", "read", "update", "delete", "list"]
}
# Where a tenant's database is, and which accounts it gives; never an account itself
# (creds), nor the password that Vault has there.
path "tenant-database/+/config/*" {
  capabilities = ["create", "read", "update", "delete"]
}
path "tenant-database/+/roles/*" {
  capabilities = ["create", "read", "update", "delete"]
}
path "identity/group" {
  capabilities = ["create", "update"]
}
path "identity/group/*" {
  capabilities = ["create", "read", "update", "delete", "list"]
}
path "identity/group-alias" {
  capabilities = ["create", "update"]
}
path "identity/group-alias/*" {
  capabilities = ["create", "read", "update", "delete", "list"]
}

# The suites: an engine to probe, a policy for it, and tokens of that policy
# through a token role.
path "sys/policies/acl/vaultproof-*" {
  capabilities = ["create", "read", "update", "delete"]
}
path "sys/mounts/vaultproof-*" {
  capabilities = ["create", "read", "update", "delete"]
}
path "auth/token/roles/vaultproof-*" {
  capabilities = ["create", "read", "update", "delete"]
}
path "auth/token/create/vaultproof-*" {
  capabilities = ["create", "update"]
}

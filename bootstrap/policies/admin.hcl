# admin: operates this Vault, and reads nobody's data. No path of a secrets
# engine is listed here. Whoever may write policies can grant themselves more,
# and the audit log shows it.

# Everything about the system: mounts, policies, audit devices, leases, raft,
# seal and step-down. The last two, audit devices and raft need sudo.
path "sys/*" {
  capabilities = ["create", "read", "update", "patch", "delete", "list", "sudo"]
}

# Storage below the barrier holds everybody's data.
path "sys/raw" {
  capabilities = ["deny"]
}
path "sys/raw/*" {
  capabilities = ["deny"]
}

# Ways to log in, tokens and identities.
path "auth/*" {
  capabilities = ["create", "read", "update", "patch", "delete", "list", "sudo"]
}
path "identity/*" {
  capabilities = ["create", "read", "update", "patch", "delete", "list"]
}

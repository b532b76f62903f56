# snapshot: reads Vault's whole storage, which is encrypted under keys that this
# policy does not reach, and nothing else. The sidecar stores what it reads as
# snapshots. Whoever took its token and the shares would have everything.

path "sys/storage/raft/snapshot" {
  capabilities = ["read"]
}

# Its own token: look at it, keep it alive.
path "auth/token/lookup-self" {
  capabilities = ["read"]
}
path "auth/token/renew-self" {
  capabilities = ["update"]
}

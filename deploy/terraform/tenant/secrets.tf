resource "vault_mount" "kv" {
  path        = local.kv
  type        = "kv"
  description = "Tenant ${var.name}: secrets that it keeps itself."
  # Version 2 keeps what is overwritten, and writes that do not know of each other apart.
  options = { version = "2" }
}

resource "vault_mount" "transit" {
  path        = local.transit
  type        = "transit"
  description = "Tenant ${var.name}: encryption without ever seeing a key."
}

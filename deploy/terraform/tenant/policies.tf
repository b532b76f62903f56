locals {
  kv       = "${local.prefix}-kv"
  transit  = "${local.prefix}-transit"
  postgres = "tenant-database/${var.name}"

  # What a workload needs of the default policy.
  own_token = <<-EOT
    path "auth/token/lookup-self" {
      capabilities = ["read"]
    }
    path "auth/token/renew-self" {
      capabilities = ["update"]
    }
    path "auth/token/revoke-self" {
      capabilities = ["update"]
    }
  EOT

  # An account in the database, and its lease. Whoever has the id of a lease may renew or end
  # it, so only ids of this role are taken.
  app_database = <<-EOT

    path "${local.postgres}/creds/${local.role}" {
      capabilities = ["read"]
    }
    path "sys/leases/renew" {
      capabilities       = ["update"]
      allowed_parameters = { "lease_id" = ["${local.postgres}/creds/${local.role}/*"], "increment" = [] }
    }
    path "sys/leases/revoke" {
      capabilities       = ["update"]
      allowed_parameters = { "lease_id" = ["${local.postgres}/creds/${local.role}/*"], "sync" = [] }
    }
  EOT
}

resource "vault_policy" "app" {
  name = "${local.prefix}-app"

  policy = <<-EOT
    # The workload of tenant ${var.name}: what is its own, and nothing else. Made by Terraform.

    # Nobody but the tenant can put secrets here, the provisioner included. What was
    # overwritten or deleted stays to be had again: destroying is nobody's.
    path "${local.kv}/data/*" {
      capabilities = ["create", "read", "update", "delete"]
    }
    path "${local.kv}/metadata/*" {
      capabilities = ["read", "list"]
    }

    # "create" makes the key at its first use. It never leaves Vault.
    path "${local.transit}/encrypt/app" {
      capabilities = ["create", "update"]
    }
    path "${local.transit}/decrypt/app" {
      capabilities = ["update"]
    }

    # Its token looks after itself; it has no default policy.
    ${local.own_token}${var.database == null ? "" : local.app_database}
  EOT
}

# The owner of the database tells Vault the password of Vault's account there, once, and has
# Vault replace it by one that nobody else knows. It can do nothing else, not even read.
resource "vault_policy" "database_owner" {
  count = var.database == null ? 0 : 1
  name  = "${local.prefix}-database-owner"

  policy = <<-EOT
    # The owner of tenant ${var.name}'s database. Made by Terraform.
    path "${local.postgres}/config/${local.prefix}" {
      capabilities       = ["update"]
      allowed_parameters = { "password" = [] }
    }
    path "${local.postgres}/rotate-root/${local.prefix}" {
      capabilities = ["update"]
    }

    ${local.own_token}
  EOT
}

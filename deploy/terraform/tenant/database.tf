# Accounts in the tenant's PostgreSQL, made when they are asked for and dropped when their
# lease ends. Two paths of the provisioner policy are needed that nothing else here needs:
#
#   path "tenant-database/+/config/*" { capabilities = ["create", "read", "update", "delete"] }
#   path "tenant-database/+/roles/*" { capabilities = ["create", "read", "update", "delete"] }
#
# The password of Vault's account is not among what Terraform writes. The owner's service
# account logs in and does it, once:
#
#   vault write tenant-database/<name>/config/tenant-<name> password=-   # read from stdin
#   vault write -force tenant-database/<name>/rotate-root/tenant-<name>
#
# A later apply leaves the password as it is: Vault merges what it is given into what it has.
resource "vault_mount" "database" {
  count       = var.database == null ? 0 : 1
  path        = local.postgres
  type        = "database"
  description = "Tenant ${var.name}: accounts in its PostgreSQL."
  # No lease outlives its account's, whatever a role says.
  max_lease_ttl_seconds     = var.database.max_ttl
  default_lease_ttl_seconds = var.database.ttl
}

resource "vault_generic_endpoint" "connection" {
  count      = var.database == null ? 0 : 1
  depends_on = [vault_mount.database]
  path       = "${local.postgres}/config/${local.prefix}"
  # Vault never shows a password, and shows the connection's details in another form. So a
  # connection_url that was changed out of band is not seen here; the rest is.
  ignore_absent_fields = true
  # It goes with the mount, in one step: without it Vault could not drop the accounts that
  # are still there.
  disable_delete = true

  data_json = jsonencode(merge(
    {
      plugin_name = "postgresql-database-plugin"
      # Braces are Vault's: it fills in what only it knows.
      connection_url = "postgresql://{{username}}:{{password}}@${var.database.host}:${var.database.port}/${var.database.name}?sslmode=verify-full"
      username       = var.database.username
      # PostgreSQL gets a hash of each password, not the password, which it might log.
      password_authentication = "scram-sha-256"
      allowed_roles           = [local.role]
      # Applying must not wait for a database, nor does Terraform know the password.
      verify_connection = false
      # Enough for bursts. A database that serves many tenants has a connection limit.
      max_open_connections = 4
      # Connections that a failover left half-open are gone by then.
      max_connection_lifetime = "300s"
    },
    var.database.ca == null ? {} : { tls_ca = var.database.ca },
  ))
}

resource "vault_generic_endpoint" "accounts" {
  count                = var.database == null ? 0 : 1
  depends_on           = [vault_generic_endpoint.connection]
  path                 = "${local.postgres}/roles/${local.role}"
  ignore_absent_fields = true
  # As the connection.
  disable_delete = true

  data_json = jsonencode({
    db_name = local.prefix
    # VALID UNTIL ends what an account can do even if Vault is away when its lease ends.
    creation_statements = coalesce(var.database.creation_statements, [
      "CREATE ROLE \"{{name}}\" WITH LOGIN PASSWORD '{{password}}' VALID UNTIL '{{expiration}}' IN ROLE \"${var.database.member_of}\" INHERIT",
    ])
    revocation_statements = coalesce(var.database.revocation_statements, [
      "DROP ROLE IF EXISTS \"{{name}}\"",
    ])
    # None: Vault's own move VALID UNTIL on.
    renew_statements    = []
    rollback_statements = []
    default_ttl         = var.database.ttl
    max_ttl             = var.database.max_ttl
  })
}

resource "vault_generic_endpoint" "database_owner" {
  count                = var.database == null ? 0 : 1
  depends_on           = [vault_generic_endpoint.config]
  path                 = "auth/${local.prefix}/role/${local.prefix}-database-owner"
  ignore_absent_fields = true

  data_json = jsonencode(merge(local.login, {
    bound_service_account_names = [var.database.owner_service_account]
    token_policies              = [vault_policy.database_owner[0].name]
    # It comes once, for a moment.
    token_ttl     = 60
    token_max_ttl = 300
  }))
}

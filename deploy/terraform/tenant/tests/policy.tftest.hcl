# What the policies of a tenant let through.
mock_provider "vault" {}

variables {
  name            = "a"
  kubernetes_host = "https://192.0.2.10:6443"
  kubernetes_ca   = "-----BEGIN CERTIFICATE-----\nMIIB\n-----END CERTIFICATE-----\n"
  audience        = "https://kubernetes.default.svc.cluster.local"
  database = {
    host      = "db.example.com"
    name      = "shop"
    username  = "vault"
    member_of = "shop"
  }
}

run "paths_of_the_workload" {
  command = plan

  assert {
    condition = alltrue([
      for path in regexall("path \"([^\"]+)\"", vault_policy.app.policy) :
      startswith(path[0], "tenant-a-") || contains([
        "auth/token/lookup-self", "auth/token/renew-self", "auth/token/revoke-self", "sys/leases/renew", "sys/leases/revoke",
      ], path[0])
    ])
    error_message = "The workload's policy has a path outside of the tenant's own engines: it could reach another tenant's secrets, or Vault's own."
  }
  assert {
    condition     = length(regexall("path \"tenant-a-[a-z]*\\*", vault_policy.app.policy)) == 0
    error_message = "A path ends in the middle of a mount's name: tenant-a-* is also the beginning of other tenants' mounts."
  }
  assert {
    condition     = length(regexall("sudo|\"root\"|\"patch\"", vault_policy.app.policy)) == 0
    error_message = "The workload's policy gives sudo, or a capability that it has no use for."
  }
  assert {
    condition     = length(regexall("transit/(keys|export|backup|rewrap|datakey)", vault_policy.app.policy)) == 0
    error_message = "The workload could change, export or delete its transit key: what it encrypted would be lost, or readable outside of Vault."
  }
  assert {
    condition     = length(regexall("kv/(destroy|undelete|config)", vault_policy.app.policy)) == 0
    error_message = "The workload could destroy versions of secrets for good."
  }
  assert {
    condition = alltrue([
      for rule in regexall("path \"sys/leases/[a-z]+\" \\{[^}]*\\}", vault_policy.app.policy) : strcontains(rule, "\"lease_id\" = [\"tenant-database/a/creds/tenant-a-app/*\"]")
    ])
    error_message = "The workload may renew or revoke leases that are not its own."
  }
}

run "paths_of_the_database_owner" {
  command = plan

  assert {
    condition = toset([for path in regexall("path \"([^\"]+)\"", vault_policy.database_owner[0].policy) : path[0]]) == toset([
      "tenant-database/a/config/tenant-a", "tenant-database/a/rotate-root/tenant-a",
      "auth/token/lookup-self", "auth/token/renew-self", "auth/token/revoke-self",
    ])
    error_message = "The owner of the database may do more than set the password and have it replaced: it could make itself accounts, or lead Vault to another server."
  }
  assert {
    condition     = strcontains(vault_policy.database_owner[0].policy, "allowed_parameters = { \"password\" = [] }")
    error_message = "The owner of the database may change more of the connection than its password: it could lead Vault to another server, and take the password there."
  }
}

run "no_secret_is_asked_for" {
  command = plan

  assert {
    condition     = !can(jsondecode(vault_generic_endpoint.connection[0].data_json).password) && !can(jsondecode(vault_generic_endpoint.connection[0].data_json).private_key)
    error_message = "The password of the database is given to Terraform: it would be in the state."
  }
  assert {
    condition     = strcontains(jsondecode(vault_generic_endpoint.connection[0].data_json).connection_url, "{{username}}:{{password}}@db.example.com:5432/shop")
    error_message = "The connection has its user and password written into the URL: they would be in the state."
  }
  assert {
    condition     = strcontains(jsondecode(vault_generic_endpoint.connection[0].data_json).connection_url, "sslmode=verify-full")
    error_message = "The database's certificate is not verified in full: passwords of new accounts go to whoever answers."
  }
}

run "accounts" {
  command = plan

  assert {
    condition     = jsondecode(vault_generic_endpoint.connection[0].data_json).allowed_roles == ["tenant-a-app"]
    error_message = "The connection serves other roles than the tenant's own."
  }
  assert {
    condition     = strcontains(jsondecode(vault_generic_endpoint.accounts[0].data_json).creation_statements[0], "VALID UNTIL '{{expiration}}'")
    error_message = "An account has no end of its own: it would outlive its lease if Vault is away when that ends."
  }
  assert {
    condition = alltrue([
      for seen in [vault_generic_endpoint.connection[0], vault_generic_endpoint.accounts[0]] : seen.disable_delete
    ])
    error_message = "The connection goes before its mount: Vault could not drop the accounts that are still there."
  }
  assert {
    condition     = vault_mount.database[0].max_lease_ttl_seconds == 3600
    error_message = "A lease may outlive the max_ttl of its account."
  }
}

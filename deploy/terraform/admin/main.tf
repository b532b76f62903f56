resource "vault_auth_backend" "gcp" {
  type        = "gcp"
  path        = var.path
  description = "Admins: logins with JWTs that Google signs for service accounts."
}

resource "vault_generic_endpoint" "config" {
  depends_on           = [vault_auth_backend.gcp]
  path                 = "auth/${var.path}/config"
  ignore_absent_fields = true
  # It goes with the mount, and has no way of its own to be deleted.
  disable_delete = true

  # No credentials: Vault has its own identity. Credentials that were set out of band are not
  # seen here, since Vault does not take back what it shows of them.
  data_json = jsonencode(merge(
    # The number that an account has for good: an address may come to belong to another one.
    { iam_alias = "unique_id" },
    { for key, value in { custom_endpoint = var.custom_endpoint } : key => value if length(value) > 0 },
  ))
}

resource "vault_generic_endpoint" "role" {
  depends_on           = [vault_generic_endpoint.config]
  path                 = "auth/${var.path}/role/admin"
  ignore_absent_fields = true

  data_json = jsonencode({
    # JWTs of people's accounts. "gce" would let in machines, and whoever is on them.
    type                   = "iam"
    bound_service_accounts = sort(var.service_accounts)
    max_jwt_exp            = var.max_jwt_exp
    # A token that a machine gets from its metadata server is no person's.
    allow_gce_inference = false
    # Groups are looked up in the project, and change without a word to Vault.
    add_group_aliases = false

    token_policies          = sort(var.policies)
    token_no_default_policy = true
    token_ttl               = var.token_ttl
    token_max_ttl           = var.token_ttl
    token_explicit_max_ttl  = var.token_ttl
    token_period            = 0
    token_num_uses          = 0
    # It can be revoked.
    token_type        = "service"
    token_bound_cidrs = var.token_bound_cidrs
  })
}

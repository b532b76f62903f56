locals {
  prefix    = "tenant-${var.name}"
  namespace = coalesce(var.namespace, local.prefix)
  role      = coalesce(var.role, "${local.prefix}-app")

  # What every role of the tenant has in common.
  login = {
    bound_service_account_namespaces = [local.namespace]
    # Nobody can add a namespace by putting a label on it.
    bound_service_account_namespace_selector = ""
    audience                                 = var.audience
    # The identity that outlives the deletion of an account of the same name by nobody.
    alias_name_source = "serviceaccount_uid"
    token_ttl         = var.token_ttl
    token_max_ttl     = var.token_max_ttl
    # A period or an explicit maximum would let a token outlive token_max_ttl, or cut it short.
    token_period           = 0
    token_explicit_max_ttl = 0
    # The default policy has paths that a workload has no use for, and may be changed by others.
    token_no_default_policy = true
    # As often as it likes: it renews itself.
    token_num_uses = 0
    # A batch token could neither be revoked nor hold a lease.
    token_type        = "service"
    token_bound_cidrs = var.token_bound_cidrs
  }
}

# A mount of its own for each tenant: another tenant's cluster is never asked, and one whose
# API server is down takes nobody with it.
resource "vault_auth_backend" "kubernetes" {
  type        = "kubernetes"
  path        = local.prefix
  description = "Tenant ${var.name}: logins with service-account tokens of its own cluster."
}

resource "vault_generic_endpoint" "config" {
  depends_on = [vault_auth_backend.kubernetes]
  path       = "auth/${local.prefix}/config"
  # Vault shows more than was set.
  ignore_absent_fields = true
  # It goes with the mount, and has no way of its own to be deleted.
  disable_delete = true

  data_json = jsonencode({
    kubernetes_host    = var.kubernetes_host
    kubernetes_ca_cert = var.kubernetes_ca
    # Inside a pod Vault would show its own pod's token to the tenant's API server instead of
    # the client's: another cluster refuses it, and one that logs tokens keeps it.
    disable_local_ca_jwt = var.review == "client"
    # Vault only ever reads this one back. Written, it is ignored; so a reviewer JWT that
    # somebody set out of band shows as a difference, and the next apply takes it away.
    token_reviewer_jwt_set = false
    # The API server checks the issuer, and clusters change theirs.
    disable_iss_validation = true
    issuer                 = ""
    # Keys would let tokens of deleted accounts in until they expire: only a review knows.
    pem_keys = []
    # An account's annotations are its owner's to write, and must not become Vault's metadata.
    use_annotations_as_alias_metadata = false
  })

  lifecycle {
    precondition {
      condition     = var.review == "local" || var.kubernetes_ca != ""
      error_message = "kubernetes_ca is empty: with review = \"client\" Vault cannot verify the tenant's API server without it."
    }
    precondition {
      condition     = var.token_ttl <= var.token_max_ttl
      error_message = "token_ttl must not be greater than token_max_ttl."
    }
  }
}

resource "vault_generic_endpoint" "role" {
  depends_on           = [vault_generic_endpoint.config]
  path                 = "auth/${local.prefix}/role/${local.role}"
  ignore_absent_fields = true

  # Everything that could widen the role is written down, so that a change of it is seen.
  data_json = jsonencode(merge(local.login, {
    bound_service_account_names = [var.service_account]
    token_policies              = [vault_policy.app.name]
  }))
}

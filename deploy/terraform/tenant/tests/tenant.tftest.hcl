# What the module makes of its input, without a Vault: `terraform test`, or `tofu test`. The
# messages say what a module that fails would do.
mock_provider "vault" {}

variables {
  name            = "a"
  kubernetes_host = "https://192.0.2.10:6443"
  kubernetes_ca   = "-----BEGIN CERTIFICATE-----\nMIIB\n-----END CERTIFICATE-----\n"
  audience        = "https://kubernetes.default.svc.cluster.local"
}

run "names" {
  command = plan

  assert {
    condition     = vault_auth_backend.kubernetes.type == "kubernetes" && vault_auth_backend.kubernetes.path == "tenant-a"
    error_message = "The auth mount is not a Kubernetes one at tenant-a: the provisioner may make no other, and tenants would share one."
  }
  assert {
    condition = alltrue([
      for path in [vault_mount.kv.path, vault_mount.transit.path, vault_policy.app.name] : startswith(path, "tenant-a-")
    ])
    error_message = "A mount or policy does not begin with tenant-a-: the provisioner policy refuses it, or it is another tenant's."
  }
  assert {
    condition     = vault_mount.kv.options["version"] == "2"
    error_message = "The kv engine is not version 2: what is overwritten would be lost, and the paths of the policy would not fit."
  }
  assert {
    condition     = output.role == "tenant-a-app" && output.namespace == "tenant-a" && output.mount == "tenant-a"
    error_message = "The names that a workload is told are not those that tenants have."
  }
  assert {
    condition     = length(vault_mount.database) == 0 && output.credentials == null && output.database_owner == null
    error_message = "A tenant without a database gets an engine for one: paths that the provisioner need not be allowed."
  }
}

run "login" {
  command = plan

  assert {
    condition     = jsondecode(vault_generic_endpoint.role.data_json).bound_service_account_names == ["app"]
    error_message = "The role is not bound to the one service account: other pods could log in."
  }
  assert {
    condition     = jsondecode(vault_generic_endpoint.role.data_json).bound_service_account_namespaces == ["tenant-a"] && jsondecode(vault_generic_endpoint.role.data_json).bound_service_account_namespace_selector == ""
    error_message = "The role is not bound to the one namespace: an account of the same name elsewhere could log in."
  }
  assert {
    condition     = jsondecode(vault_generic_endpoint.role.data_json).audience == var.audience
    error_message = "The role asks for no audience: a token that was made for another service could log in."
  }
  assert {
    condition     = jsondecode(vault_generic_endpoint.role.data_json).token_policies == ["tenant-a-app"] && jsondecode(vault_generic_endpoint.role.data_json).token_no_default_policy
    error_message = "The role gives other policies than tenant-a-app alone."
  }
  assert {
    condition = (
      jsondecode(vault_generic_endpoint.role.data_json).token_ttl == 900 && jsondecode(vault_generic_endpoint.role.data_json).token_max_ttl == 3600 &&
      jsondecode(vault_generic_endpoint.role.data_json).token_period == 0 && jsondecode(vault_generic_endpoint.role.data_json).token_explicit_max_ttl == 0
    )
    error_message = "A token may live longer than token_max_ttl: nobody would ask again whether its service account still exists."
  }
  assert {
    condition     = jsondecode(vault_generic_endpoint.role.data_json).token_type == "service"
    error_message = "The role gives tokens that can neither be revoked nor hold a lease."
  }
}

run "review" {
  command = plan

  assert {
    condition     = jsondecode(vault_generic_endpoint.config.data_json).disable_local_ca_jwt
    error_message = "Vault would show its own pod's token to the tenant's API server."
  }
  assert {
    condition     = !can(jsondecode(vault_generic_endpoint.config.data_json).token_reviewer_jwt) && try(jsondecode(vault_generic_endpoint.config.data_json).token_reviewer_jwt_set, null) == false
    error_message = "A reviewer JWT is part of the configuration: it would be in the state, and one that was set out of band would not be seen."
  }
  assert {
    condition     = jsondecode(vault_generic_endpoint.config.data_json).pem_keys == []
    error_message = "Logins could be decided by keys alone: a token of a deleted account would let in until it expires."
  }
  assert {
    condition     = vault_generic_endpoint.config.disable_delete
    error_message = "The configuration is deleted for itself, which Vault refuses: destroying would fail."
  }
  assert {
    condition = alltrue([
      for seen in [vault_generic_endpoint.config, vault_generic_endpoint.role] : seen.ignore_absent_fields && seen.disable_read != true
    ])
    error_message = "The role or the configuration is not read back: drift would not be seen."
  }
}

run "local_review" {
  command = plan

  variables {
    review        = "local"
    kubernetes_ca = ""
  }

  assert {
    condition     = !jsondecode(vault_generic_endpoint.config.data_json).disable_local_ca_jwt
    error_message = "Vault is told to use its own pod's token, and is not allowed to."
  }
}

run "names_can_be_chosen" {
  command = plan

  variables {
    namespace       = "shop"
    service_account = "web"
    role            = "web"
  }

  assert {
    condition = (
      output.namespace == "shop" && output.service_account == "web" && output.role == "web" &&
      jsondecode(vault_generic_endpoint.role.data_json).bound_service_account_namespaces == ["shop"]
    )
    error_message = "A namespace, account or role that was asked for is not used."
  }
}

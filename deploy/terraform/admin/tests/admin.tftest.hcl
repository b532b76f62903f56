# What the module makes of its input, without a Vault. The messages say what a module that
# fails would do.
mock_provider "vault" {}

variables {
  service_accounts = ["vault-admin@example.iam.gserviceaccount.com"]
}

run "who_is_an_admin" {
  command = plan

  assert {
    condition     = jsondecode(vault_generic_endpoint.role.data_json).type == "iam" && !jsondecode(vault_generic_endpoint.role.data_json).allow_gce_inference
    error_message = "A machine can log in as an admin, and so can whoever is on it."
  }
  assert {
    condition     = jsondecode(vault_generic_endpoint.role.data_json).bound_service_accounts == ["vault-admin@example.iam.gserviceaccount.com"]
    error_message = "Other accounts than those listed are admins."
  }
  assert {
    condition     = !can(jsondecode(vault_generic_endpoint.role.data_json).bound_projects)
    error_message = "A whole project is let in, whoever makes accounts in it."
  }
}

run "for_how_long" {
  command = plan

  assert {
    condition     = jsondecode(vault_generic_endpoint.role.data_json).max_jwt_exp <= 900
    error_message = "A signed JWT is good for longer than 15 minutes: it is a password."
  }
  assert {
    condition     = jsondecode(vault_generic_endpoint.role.data_json).token_explicit_max_ttl == 3600 && jsondecode(vault_generic_endpoint.role.data_json).token_period == 0
    error_message = "An admin's token can be renewed for ever."
  }
}

run "no_credentials" {
  command = plan

  assert {
    condition     = jsondecode(vault_generic_endpoint.config.data_json) == { iam_alias = "unique_id" }
    error_message = "More than the alias is written: credentials would be in the state."
  }
}

run "a_restricted_network" {
  command = plan
  variables {
    custom_endpoint = { iam = "https://restricted.googleapis.com" }
  }
  assert {
    condition     = jsondecode(vault_generic_endpoint.config.data_json).custom_endpoint.iam == "https://restricted.googleapis.com"
    error_message = "The addresses of Google's services are not those that were asked for."
  }
}

run "every_account" {
  command = plan
  variables {
    service_accounts = ["*"]
  }
  expect_failures = [var.service_accounts]
}

run "no_account" {
  command = plan
  variables {
    service_accounts = []
  }
  expect_failures = [var.service_accounts]
}

run "a_person" {
  command = plan
  variables {
    service_accounts = ["somebody@example.com"]
  }
  expect_failures = [var.service_accounts]
}

run "root" {
  command = plan
  variables {
    policies = ["root"]
  }
  expect_failures = [var.policies]
}

run "where_the_provisioner_may_write" {
  command = plan
  variables {
    path = "tenant-admin"
  }
  expect_failures = [var.path]
}

run "a_jwt_for_an_hour" {
  command = plan
  variables {
    max_jwt_exp = 3600
  }
  expect_failures = [var.max_jwt_exp]
}

run "google_without_tls" {
  command = plan
  variables {
    custom_endpoint = { iam = "http://198.51.100.1" }
  }
  expect_failures = [var.custom_endpoint]
}

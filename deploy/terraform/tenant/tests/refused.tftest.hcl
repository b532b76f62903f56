# Input that the module does not take.
mock_provider "vault" {}

variables {
  name            = "a"
  kubernetes_host = "https://192.0.2.10:6443"
  kubernetes_ca   = "-----BEGIN CERTIFICATE-----\nMIIB\n-----END CERTIFICATE-----\n"
  audience        = "https://kubernetes.default.svc.cluster.local"
}

run "a_name_with_a_slash" {
  command = plan
  variables {
    name = "a/../b"
  }
  expect_failures = [var.name]
}

run "a_name_that_is_a_glob" {
  command = plan
  variables {
    name = "*"
  }
  expect_failures = [var.name]
}

run "an_api_server_without_tls" {
  command = plan
  variables {
    kubernetes_host = "http://192.0.2.10:8080"
  }
  expect_failures = [var.kubernetes_host]
}

run "a_ca_that_is_none" {
  command = plan
  variables {
    kubernetes_ca = "no certificate"
  }
  expect_failures = [var.kubernetes_ca]
}

run "no_ca_for_another_cluster" {
  command = plan
  variables {
    kubernetes_ca = ""
  }
  expect_failures = [vault_generic_endpoint.config]
}

run "no_audience" {
  command = plan
  variables {
    audience = " "
  }
  expect_failures = [var.audience]
}

run "every_namespace" {
  command = plan
  variables {
    namespace = "*"
  }
  expect_failures = [var.namespace]
}

run "every_service_account" {
  command = plan
  variables {
    service_account = "*"
  }
  expect_failures = [var.service_account]
}

run "a_reviewer_of_its_own" {
  command = plan
  variables {
    review = "reviewer"
  }
  expect_failures = [var.review]
}

run "tokens_for_ever" {
  command = plan
  variables {
    token_max_ttl = 31536000
  }
  expect_failures = [var.token_max_ttl]
}

run "a_ttl_beyond_the_maximum" {
  command = plan
  variables {
    token_ttl     = 7200
    token_max_ttl = 3600
  }
  expect_failures = [vault_generic_endpoint.config]
}

run "sql_in_a_name" {
  command = plan
  variables {
    database = {
      host      = "db.example.com"
      name      = "shop"
      username  = "vault"
      member_of = "shop\"; DROP DATABASE shop; --"
    }
  }
  expect_failures = [var.database]
}

run "a_password_in_the_host" {
  command = plan
  variables {
    database = {
      host      = "vault:secret@db.example.com"
      name      = "shop"
      username  = "vault"
      member_of = "shop"
    }
  }
  expect_failures = [var.database]
}

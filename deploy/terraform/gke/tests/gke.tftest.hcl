# What the module makes of its input, without Google. The provider's schema is needed, which
# only its registry has.
mock_provider "google" {
  mock_data "google_project" {
    defaults = { number = "123456789" }
  }
}

variables {
  project             = "example"
  region              = "europe-west1"
  zones               = ["europe-west1-b", "europe-west1-c", "europe-west1-d"]
  network             = "vault"
  subnetwork          = "vault"
  pod_range           = "pods"
  service_range       = "services"
  control_plane_cidr  = "172.16.0.0/28"
  authorized_networks = { office = "198.51.100.0/24" }
  etcd_key            = "projects/example/locations/europe-west1/keyRings/vault/cryptoKeys/etcd"
}

run "vault_has_nodes_to_itself" {
  command = plan

  assert {
    condition     = google_container_node_pool.pools["vault"].node_config[0].taint[0].effect == "NO_SCHEDULE" && google_container_node_pool.pools["vault"].node_config[0].labels["dedicated"] == "vault"
    error_message = "The Vault pool has no taint: other pods share a kernel with Vault."
  }
  assert {
    condition     = google_container_node_pool.pools["vault"].node_count == 1 && length(google_container_node_pool.pools["vault"].node_locations) == 3
    error_message = "There is not one Vault node in each of three zones."
  }
  assert {
    condition     = alltrue([for pool in google_container_node_pool.pools : pool.node_config[0].workload_metadata_config[0].mode == "GKE_METADATA"])
    error_message = "Pods of a pool can take the node's identity."
  }
}

run "custody" {
  command = plan

  assert {
    condition     = length(google_secret_manager_secret.custody) == 10 && !contains(keys(google_secret_manager_secret.custody), "vault-init-claim")
    error_message = "The secrets are not those that the sidecar keeps; or the claim is made here, and two Vaults may initialise."
  }
  assert {
    condition     = keys(google_secret_manager_secret_iam_member.vault) == keys(google_secret_manager_secret.custody)
    error_message = "A secret has no right of its own for Vault."
  }
  assert {
    condition     = google_project_iam_custom_role.maker.permissions == toset(["secretmanager.secrets.create"])
    error_message = "Vault's pods can do more to the project's secrets than make one."
  }
  assert {
    condition     = toset([for log in google_project_iam_audit_config.secrets.audit_log_config : log.log_type]) == toset(["ADMIN_READ", "DATA_READ", "DATA_WRITE"])
    error_message = "Reads of a share are not logged."
  }
}

run "two_zones" {
  command = plan
  variables {
    zones = ["europe-west1-b", "europe-west1-c"]
  }
  expect_failures = [var.zones]
}

run "open_to_the_world" {
  command = plan
  variables {
    authorized_networks = { all = "0.0.0.0/0" }
  }
  expect_failures = [var.authorized_networks]
}

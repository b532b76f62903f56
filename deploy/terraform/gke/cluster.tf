data "google_project" "this" {
  project_id = var.project
}

# Nodes get an account of their own. The default one may often edit the whole project.
resource "google_service_account" "nodes" {
  project      = var.project
  account_id   = "${var.name}-nodes"
  display_name = "Nodes of GKE cluster ${var.name}: logs and metrics only"
}

resource "google_project_iam_member" "nodes" {
  project = var.project
  # Writes logs and metrics, and reads no secret.
  role   = "roles/container.defaultNodeServiceAccount"
  member = google_service_account.nodes.member
}

resource "google_container_cluster" "vault" {
  project = var.project
  name    = var.name
  # A region, not a zone: the API server outlives a zone too.
  location       = var.region
  node_locations = var.zones

  # Deleting it takes the raft volumes along.
  deletion_protection = true

  # GKE insists on a first pool; ours are made apart from the cluster, and can be replaced.
  remove_default_node_pool = true
  initial_node_count       = 1
  node_config {
    service_account = google_service_account.nodes.email
  }

  network         = var.network
  subnetwork      = var.subnetwork
  networking_mode = "VPC_NATIVE"
  ip_allocation_policy {
    cluster_secondary_range_name  = var.pod_range
    services_secondary_range_name = var.service_range
  }
  # Dataplane V2: without it, network policies are taken and not enforced.
  datapath_provider = "ADVANCED_DATAPATH"

  private_cluster_config {
    # Nodes have no public address.
    enable_private_nodes    = true
    enable_private_endpoint = false
    master_ipv4_cidr_block  = var.control_plane_cidr
  }
  master_authorized_networks_config {
    dynamic "cidr_blocks" {
      for_each = var.authorized_networks
      content {
        display_name = cidr_blocks.key
        cidr_block   = cidr_blocks.value
      }
    }
  }
  # A certificate cannot be taken back.
  master_auth {
    client_certificate_config {
      issue_client_certificate = false
    }
  }
  enable_legacy_abac = false

  # Pods have identities of their own, and keys of service accounts are nowhere.
  workload_identity_config {
    workload_pool = "${var.project}.svc.id.goog"
  }

  enable_shielded_nodes = true
  database_encryption {
    state    = "ENCRYPTED"
    key_name = var.etcd_key
  }
  node_pool_defaults {
    node_config_defaults {
      # It tells whoever asks what runs on the node.
      insecure_kubelet_readonly_port_enabled = "FALSE"
    }
  }

  # Patched, some weeks after the newest.
  release_channel {
    channel = "REGULAR"
  }
  maintenance_policy {
    # Nights of weekdays, when somebody can be woken who was there the day before.
    recurring_window {
      start_time = "2026-01-05T01:00:00Z"
      end_time   = "2026-01-05T07:00:00Z"
      recurrence = "FREQ=WEEKLY;BYDAY=MO,TU,WE,TH"
    }
  }

  # The API server's own too: who read which object.
  logging_config {
    enable_components = ["SYSTEM_COMPONENTS", "APISERVER", "SCHEDULER", "CONTROLLER_MANAGER", "WORKLOADS"]
  }
  monitoring_config {
    enable_components = ["SYSTEM_COMPONENTS", "APISERVER"]
    managed_prometheus {
      enabled = true
    }
  }
  addons_config {
    # Names are answered on the node: an election does not wait for another zone's DNS.
    dns_cache_config {
      enabled = true
    }
    gce_persistent_disk_csi_driver_config {
      enabled = true
    }
  }

  lifecycle {
    # The first pool's, which is gone.
    ignore_changes = [node_config]
  }
}

locals {
  # What a node gets in either pool.
  pools = {
    # Vault has its nodes to itself: one in each zone.
    vault = {
      machine = var.machine_type
      labels  = { dedicated = "vault" }
      taints  = ["vault"]
    }
    # The ingress controller and what a cluster needs itself.
    services = {
      machine = "e2-standard-2"
      labels  = { "vaultproof.dev/role" = "services" }
      taints  = []
    }
  }
}

resource "google_container_node_pool" "pools" {
  for_each = local.pools

  project        = var.project
  name           = each.key
  cluster        = google_container_cluster.vault.id
  node_locations = var.zones
  # In each zone. No autoscaler: the number of votes is the number of nodes.
  node_count = 1

  node_config {
    machine_type    = each.value.machine
    image_type      = "COS_CONTAINERD"
    service_account = google_service_account.nodes.email
    # The account's rights decide, not scopes.
    oauth_scopes = ["https://www.googleapis.com/auth/cloud-platform"]
    labels       = each.value.labels

    dynamic "taint" {
      for_each = each.value.taints
      content {
        key    = "dedicated"
        value  = taint.value
        effect = "NO_SCHEDULE"
      }
    }

    # Pods see their own identity there, never the node's.
    workload_metadata_config {
      mode = "GKE_METADATA"
    }
    metadata = {
      # The old metadata server gave tokens without a header.
      disable-legacy-endpoints = "true"
    }
    shielded_instance_config {
      enable_secure_boot          = true
      enable_integrity_monitoring = true
    }
  }

  management {
    auto_repair  = true
    auto_upgrade = true
  }
  upgrade_settings {
    # A new node first, then the old one goes: never two zones at a time.
    max_surge       = 1
    max_unavailable = 0
  }
}

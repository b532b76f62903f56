locals {
  # What the sidecar keeps. The claim, <name>-init-claim, it makes itself.
  secrets = toset(concat(
    [for i in range(var.shares) : "${var.name}-unseal-share-${i}"],
    [for kind in ["root-token", "provisioner-token", "handover-token", "snapshot-token", "custody-proof"] : "${var.name}-${kind}"],
  ))
  claim = "projects/${data.google_project.this.number}/secrets/${var.name}-init-claim"

  # Vault's pods, by Workload Identity Federation: no Google service account stands between,
  # in whose name somebody else might act.
  vault = "principal://iam.googleapis.com/projects/${data.google_project.this.number}/locations/global/workloadIdentityPools/${google_container_cluster.vault.workload_identity_config[0].workload_pool}/subject/ns/${var.namespace}/sa/${var.service_account}"
}

resource "google_secret_manager_secret" "custody" {
  for_each = local.secrets

  project   = var.project
  secret_id = each.value
  labels    = { managed-by = "terraform", vault = var.name }

  # In all three zones of the region, and nowhere else. "auto" keeps it where Google likes.
  replication {
    user_managed {
      replicas {
        location = var.region
      }
    }
  }

  lifecycle {
    # Without its shares a Vault is lost.
    prevent_destroy = true
  }
}

# What the sidecar does with a secret that it keeps. Google's own roles either cannot destroy
# a version or can give the secret away.
resource "google_project_iam_custom_role" "keeper" {
  project     = var.project
  role_id     = "${replace(var.name, "-", "_")}_keeper"
  title       = "Vault's bootstrap sidecar, on each of its secrets"
  description = "Reads, adds, disables and destroys versions; cannot delete a secret or say who else may read it."
  permissions = [
    "secretmanager.secrets.get",
    "secretmanager.versions.access",
    "secretmanager.versions.add",
    "secretmanager.versions.destroy",
    "secretmanager.versions.disable",
    "secretmanager.versions.get",
    "secretmanager.versions.list",
  ]
}

resource "google_secret_manager_secret_iam_member" "vault" {
  for_each = google_secret_manager_secret.custody

  project   = var.project
  secret_id = each.value.secret_id
  role      = google_project_iam_custom_role.keeper.id
  member    = local.vault
}

# To make a secret is a right on the project. It lets its holder read none.
resource "google_project_iam_custom_role" "maker" {
  project     = var.project
  role_id     = "${replace(var.name, "-", "_")}_maker"
  title       = "Vault's bootstrap sidecar, on the project"
  description = "Makes secrets: the claim to initialise is won by making one."
  permissions = ["secretmanager.secrets.create"]
}

resource "google_project_iam_member" "maker" {
  project = var.project
  role    = google_project_iam_custom_role.maker.id
  member  = local.vault
}

# The claim is no secret, and is not there yet, so the right is on its name.
resource "google_project_iam_member" "claim" {
  project = var.project
  role    = google_project_iam_custom_role.keeper.id
  member  = local.vault

  condition {
    title      = "${var.name}-init-claim"
    expression = "resource.name == \"${local.claim}\" || resource.name.startsWith(\"${local.claim}/versions/\")"
  }
}

resource "google_secret_manager_secret_iam_member" "provisioner" {
  for_each = var.provisioner_readers

  project   = var.project
  secret_id = google_secret_manager_secret.custody["${var.name}-provisioner-token"].secret_id
  role      = "roles/secretmanager.secretAccessor"
  member    = each.value
}

# Who read which secret, and who changed who may. Reads are not logged unless asked for.
resource "google_project_iam_audit_config" "secrets" {
  project = var.project
  service = "secretmanager.googleapis.com"

  dynamic "audit_log_config" {
    for_each = ["ADMIN_READ", "DATA_READ", "DATA_WRITE"]
    content {
      log_type = audit_log_config.value
    }
  }
}

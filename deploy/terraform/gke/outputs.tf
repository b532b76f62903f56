output "cluster" {
  description = "Full name of the cluster: gcloud container clusters get-credentials takes its last part."
  value       = google_container_cluster.vault.id
}

output "workload_identity_pool" {
  description = "Pool that service accounts of the cluster are principals of."
  value       = google_container_cluster.vault.workload_identity_config[0].workload_pool
}

output "vault_principal" {
  description = "IAM principal of Vault's pods."
  value       = local.vault
}

output "custody" {
  description = "What the stack is told of its custody."
  value       = { project = var.project, prefix = var.name }
}

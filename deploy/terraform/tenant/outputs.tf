# None of these is a secret. They are what a workload has to be told.

output "mount" {
  description = "Path of the auth mount: auth/<mount>/login."
  value       = local.prefix
}

output "role" {
  description = "Role to log in with, and of the accounts in the database."
  value       = local.role
}

output "policy" {
  description = "Policy of the workload."
  value       = vault_policy.app.name
}

output "namespace" {
  description = "Kubernetes namespace that the role is bound to."
  value       = local.namespace
}

output "service_account" {
  description = "Service account that the role is bound to."
  value       = var.service_account
}

output "audience" {
  description = "Audience that tokens must be made for."
  value       = var.audience
}

output "kv" {
  description = "Mount of the tenant's secrets (kv version 2)."
  value       = local.kv
}

output "transit" {
  description = "Mount of the tenant's encryption; its key is called app."
  value       = local.transit
}

output "database" {
  description = "Mount of the tenant's accounts in PostgreSQL; null if it has none."
  value       = one(vault_mount.database[*].path)
}

output "credentials" {
  description = "Where the workload reads an account in PostgreSQL; null if it has none."
  value       = var.database == null ? null : "${local.postgres}/creds/${local.role}"
}

output "database_owner" {
  description = "Role by which the owner of the database sets the password of Vault's account; null if there is none."
  value       = var.database == null ? null : "${local.prefix}-database-owner"
}

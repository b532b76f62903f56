output "mount" {
  description = "Path of the auth mount."
  value       = var.path
}

output "role" {
  description = "Role to log in with."
  value       = "admin"
}

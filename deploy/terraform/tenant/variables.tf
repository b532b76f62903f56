variable "name" {
  description = "Short name of the tenant. All its names in Vault begin with tenant-<name>."
  type        = string

  validation {
    condition     = can(regex("^[a-z0-9]([a-z0-9-]{0,28}[a-z0-9])?$", var.name))
    error_message = "The name must be 1 to 30 lower-case letters, digits and dashes, and neither begin nor end with a dash: it becomes part of paths, policies and a Kubernetes namespace."
  }
}

variable "kubernetes_host" {
  description = "URL of the tenant's API server, as Vault reaches it."
  type        = string

  validation {
    # Without TLS whoever sits in between would decide who logs in.
    condition     = can(regex("^https://[^/]+$", var.kubernetes_host))
    error_message = "kubernetes_host must be the https URL of the tenant's API server, without a path, such as https://10.0.0.1:6443."
  }
}

variable "kubernetes_ca" {
  description = "PEM certificates that verify the tenant's API server. It is public. May be empty only with review = \"local\"."
  type        = string

  validation {
    condition     = var.kubernetes_ca == "" || can(regex("-----BEGIN CERTIFICATE-----", var.kubernetes_ca))
    error_message = "kubernetes_ca must be PEM certificates: the ca.crt of ConfigMap kube-root-ca.crt in the tenant's cluster."
  }
}

variable "review" {
  description = <<-EOT
    Whose token asks the tenant's API server to review a login.
    "client": the one that is logging in. Its service account needs the ClusterRole
    system:auth-delegator in the tenant's cluster, and the audience must be the API server's
    own. Vault keeps no credential for the tenant's cluster.
    "local": that of Vault's own pod. Only if Vault runs in the tenant's cluster.
    There is no third way on purpose: a long-lived reviewer JWT would be in the state.
  EOT
  type        = string
  default     = "client"

  validation {
    condition     = contains(["client", "local"], var.review)
    error_message = "review must be \"client\" or \"local\"."
  }
}

variable "audience" {
  description = "Audience that the tenant's service-account tokens must be made for. With review = \"client\" one of the API server's own."
  type        = string

  validation {
    # A role without an audience takes a token that was made for anybody else.
    condition     = trimspace(var.audience) != "" && var.audience == trimspace(var.audience)
    error_message = "The audience must not be empty: without one, a token that the tenant's workload gave to another service could log in to Vault."
  }
}

variable "namespace" {
  description = "Kubernetes namespace of the workload; tenant-<name> if null."
  type        = string
  default     = null

  validation {
    condition     = var.namespace == null || can(regex("^[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?$", var.namespace))
    error_message = "The namespace must be the name of one Kubernetes namespace: * would let in every namespace of the cluster."
  }
}

variable "service_account" {
  description = "Service account of the workload, in that namespace."
  type        = string
  default     = "app"

  validation {
    condition     = can(regex("^[a-z0-9]([a-z0-9.-]{0,251}[a-z0-9])?$", var.service_account))
    error_message = "The service account must be the name of one: * would let in every pod of the namespace."
  }
}

variable "role" {
  description = "Name of the workload's role, for logins and in the database engine; tenant-<name>-app if null. The provisioner policy lets database roles begin with tenant- alone."
  type        = string
  default     = null

  validation {
    condition     = var.role == null || can(regex("^[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?$", var.role))
    error_message = "The role must be lower-case letters, digits and dashes."
  }
}

variable "token_ttl" {
  description = "Seconds that a token of the workload lives before it has to be renewed."
  type        = number
  # Long enough to sit out an election or a drain, short enough to be of little use to a thief.
  default = 900

  validation {
    condition     = var.token_ttl >= 60 && floor(var.token_ttl) == var.token_ttl
    error_message = "token_ttl must be whole seconds, 60 at least: a shorter token would die in an election."
  }
}

variable "token_max_ttl" {
  description = "Seconds after which a token of the workload cannot be renewed any more: the workload logs in again, and its service account is reviewed again."
  type        = number
  default     = 3600

  validation {
    condition     = var.token_max_ttl >= 60 && var.token_max_ttl <= 86400 && floor(var.token_max_ttl) == var.token_max_ttl
    error_message = "token_max_ttl must be whole seconds, from 60 to 86400: until then nobody asks whether the service account still exists."
  }
}

variable "token_bound_cidrs" {
  description = "Addresses that the workload's tokens may be used from, as CIDR blocks; empty means any. Vault sees the ingress unless that passes the client's address on."
  type        = list(string)
  default     = []
}

variable "database" {
  description = <<-EOT
    PostgreSQL of the tenant, or null if it has none.
    host, port, name: where Vault reaches it. TLS is verified in full, so host must be in its certificate.
    ca: PEM certificates that verify it, or null for the system's.
    username: Vault's own account there, with CREATEROLE. Its password is not known to Terraform.
    member_of: the database role whose rights an account gets; Vault's own must be able to grant it.
    owner_service_account: in the tenant's namespace; may set that password, and have Vault replace it.
    ttl, max_ttl: seconds that an account lives without, and with, being renewed.
    creation_statements, revocation_statements: instead of the usual ones.
  EOT
  type = object({
    host                  = string
    port                  = optional(number, 5432)
    name                  = string
    ca                    = optional(string)
    username              = string
    member_of             = string
    owner_service_account = optional(string, "database-owner")
    ttl                   = optional(number, 900)
    max_ttl               = optional(number, 3600)
    creation_statements   = optional(list(string))
    revocation_statements = optional(list(string))
  })
  default = null

  validation {
    condition = var.database == null || alltrue([
      for part in [try(var.database.host, ""), try(var.database.name, ""), try(var.database.username, "")] : can(regex("^[A-Za-z0-9._-]+$", part))
    ])
    error_message = "host, name and username of the database go into a URL: letters, digits, dots, dashes and underscores only, and none of them empty."
  }

  validation {
    # It is quoted in SQL.
    condition     = var.database == null || can(regex("^[A-Za-z_][A-Za-z0-9_-]*$", try(var.database.member_of, "")))
    error_message = "member_of must be the name of a database role: letters, digits, dashes and underscores."
  }

  validation {
    condition     = var.database == null || can(regex("^[a-z0-9]([a-z0-9.-]{0,251}[a-z0-9])?$", try(var.database.owner_service_account, "")))
    error_message = "owner_service_account must be the name of one service account: * would let every pod of the namespace set the database's password."
  }

  validation {
    condition     = var.database == null || try(var.database.ttl >= 60 && var.database.max_ttl >= var.database.ttl, false)
    error_message = "ttl of the database must be 60 seconds at least, and max_ttl no less than ttl."
  }
}

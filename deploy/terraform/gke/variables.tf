variable "project" {
  description = "Id of the Google Cloud project. Best one that has nothing else in it: whoever administers a project administers its secrets."
  type        = string
}

variable "name" {
  description = "Name of the cluster, and the beginning of the names of what belongs to it."
  type        = string
  default     = "vault"

  validation {
    condition     = can(regex("^[a-z][a-z0-9-]{0,18}[a-z0-9]$", var.name))
    error_message = "The name must be 2 to 20 lower-case letters, digits and dashes, and begin with a letter: service accounts are named after it."
  }
}

variable "region" {
  description = "Region of the cluster."
  type        = string
}

variable "zones" {
  description = "Three zones of that region. Each gets one Vault node."
  type        = list(string)

  validation {
    # Two zones cannot lose one and keep a majority of three votes.
    condition     = length(distinct(var.zones)) == 3 && length(var.zones) == 3
    error_message = "zones must be three different ones: Vault loses one of them and goes on."
  }
}

variable "network" {
  description = "Network of the cluster, by name or self link."
  type        = string
}

variable "subnetwork" {
  description = "Subnetwork of the nodes, in the region, with private Google access (for Secret Manager)."
  type        = string
}

variable "pod_range" {
  description = "Name of the subnetwork's secondary range for pods."
  type        = string
}

variable "service_range" {
  description = "Name of the subnetwork's secondary range for Services."
  type        = string
}

variable "control_plane_cidr" {
  description = "Block of 16 addresses (/28) for the control plane, that nothing else uses."
  type        = string

  validation {
    condition     = can(cidrhost(var.control_plane_cidr, 15)) && endswith(var.control_plane_cidr, "/28")
    error_message = "control_plane_cidr must be a /28, such as 172.16.0.0/28."
  }
}

variable "authorized_networks" {
  description = "Who may reach the API server: CIDR blocks by the name that the console shows."
  type        = map(string)

  validation {
    condition     = alltrue([for block in values(var.authorized_networks) : can(cidrhost(block, 0)) && !endswith(block, "/0")])
    error_message = "authorized_networks must be CIDR blocks, and none of them the whole internet."
  }
}

variable "machine_type" {
  description = "Machine of a Vault node. It runs nothing but Vault."
  type        = string
  default     = "e2-standard-2"
}

variable "etcd_key" {
  description = "Cloud KMS key that Kubernetes Secrets are encrypted with in etcd: projects/P/locations/REGION/keyRings/R/cryptoKeys/K. GKE's own agent must be allowed to use it."
  type        = string

  validation {
    condition     = can(regex("^projects/[^/]+/locations/[^/]+/keyRings/[^/]+/cryptoKeys/[^/]+$", var.etcd_key))
    error_message = "etcd_key must be the full name of a Cloud KMS key."
  }
}

variable "shares" {
  description = "How many unseal shares there are: as the sidecar's own setting."
  type        = number
  default     = 5

  validation {
    condition     = var.shares >= 3 && var.shares <= 20 && floor(var.shares) == var.shares
    error_message = "shares must be a whole number from 3 to 20."
  }
}

variable "namespace" {
  description = "Kubernetes namespace of Vault."
  type        = string
  default     = "vault"
}

variable "service_account" {
  description = "Kubernetes service account of Vault, in that namespace."
  type        = string
  default     = "vault"
}

variable "provisioner_readers" {
  description = "IAM members that may read the provisioner token, and no other secret: those in whose name Terraform is run for tenants, such as Atlantis' service account."
  type        = set(string)
  default     = []

  validation {
    condition     = alltrue([for member in var.provisioner_readers : can(regex("^(serviceAccount|principal|principalSet|user|group):", member)) && !startswith(member, "allUsers")])
    error_message = "provisioner_readers must be IAM members with their kind, such as serviceAccount:atlantis@PROJECT.iam.gserviceaccount.com."
  }
}

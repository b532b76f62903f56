variable "path" {
  description = "Path of the auth mount."
  type        = string
  default     = "gcp"

  validation {
    # The provisioner may change what is mounted at tenant-*, and must not decide who is an admin.
    condition     = can(regex("^[a-z0-9][a-z0-9-]*$", var.path)) && !startswith(var.path, "tenant-") && !startswith(var.path, "vaultproof-")
    error_message = "The path must be lower-case letters, digits and dashes, and not begin with tenant- or vaultproof-: what does, the provisioner token may change."
  }
}

variable "service_accounts" {
  description = "E-mail addresses of the Google service accounts that are admins."
  type        = set(string)

  validation {
    condition     = length(var.service_accounts) > 0 && alltrue([for account in var.service_accounts : can(regex("^[a-z]([a-z0-9-]{4,28}[a-z0-9])?@[a-z0-9.:-]+[.]gserviceaccount[.]com$", account))])
    error_message = "service_accounts must be the full e-mail addresses of service accounts, one at least: * would make every account of the project an admin."
  }
}

variable "policies" {
  description = "Policies that an admin gets."
  type        = list(string)
  default     = ["admin"]

  validation {
    condition     = length(var.policies) > 0 && !contains(var.policies, "root")
    error_message = "policies must be one at least, and not root: Vault gives that to nobody who logs in."
  }
}

variable "max_jwt_exp" {
  description = "Seconds that a signed JWT may be good for: whoever copies it may log in for as long."
  type        = number
  # Google signs for an hour at most; a login takes seconds.
  default = 300

  validation {
    condition     = var.max_jwt_exp >= 60 && var.max_jwt_exp <= 900
    error_message = "max_jwt_exp must be from 60 to 900 seconds: clocks differ a little, and a longer one is a password."
  }
}

variable "token_ttl" {
  description = "Seconds after which an admin's token is gone. It cannot be renewed beyond that."
  type        = number
  default     = 3600

  validation {
    condition     = var.token_ttl >= 300 && var.token_ttl <= 14400
    error_message = "token_ttl must be from 300 to 14400 seconds: an admin logs in again after a break."
  }
}

variable "token_bound_cidrs" {
  description = "Addresses that admins' tokens may be used from, as CIDR blocks; empty means any."
  type        = list(string)
  default     = []
}

variable "custom_endpoint" {
  description = "Other addresses of Google's services, by the keys api, iam, crm and compute: for a restricted network. Empty means Google's own."
  type        = map(string)
  default     = {}

  validation {
    # Whoever answers there says which keys an account has, and so who is an admin.
    condition     = alltrue([for name, url in var.custom_endpoint : contains(["api", "iam", "crm", "compute"], name) && startswith(url, "https://")])
    error_message = "custom_endpoint has keys api, iam, crm and compute, and https URLs: who answers there decides who is an admin."
  }
}

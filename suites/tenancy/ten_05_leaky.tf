# The positive control of TEN-05: it writes what it is given into state, plan and log, as a
# module does that is given a secret. What is searched for in tenants' workspaces has to be
# found in this one's.
variable "canaries" {
  type = map(string)
}

resource "terraform_data" "leak" {
  input = var.canaries
}

output "leak" {
  value = var.canaries
}

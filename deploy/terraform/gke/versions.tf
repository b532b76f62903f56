# The cluster on Google Kubernetes Engine that Vault has to itself, and its custody in Secret
# Manager: regional, with private nodes, one Vault node in each zone, Workload Identity, and
# a right of its own on each secret. The stack's overlay "gke" runs on it.
#
# Secrets are made here without a version, so no state ever holds one: Vault's bootstrap
# sidecar writes them. The claim to initialise is not made here at all: that nobody has made
# it yet is what the sidecar's lock is.
terraform {
  required_version = ">= 1.5.0" # as in module tenant

  required_providers {
    google = {
      source = "hashicorp/google"
      # The first with all that is used here: the kubelet's read-only port can be closed.
      version = ">= 6.7"
    }
  }
}

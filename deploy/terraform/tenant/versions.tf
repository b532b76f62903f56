# One tenant of Vault: its way to log in from its own Kubernetes cluster, its policies, its
# secrets engines and, if it has a PostgreSQL, accounts made on demand. All its names begin
# with "tenant-<name>", which the provisioner policy demands.
#
# By hand, with the provisioner token read from custody and kept in the environment alone:
#
#   export VAULT_ADDR=https://vault.example.com VAULT_CACERT=vault-ca.crt
#   export VAULT_TOKEN="$(gcloud secrets versions access latest --secret=vault-provisioner-token)"
#   terraform init && terraform apply -var-file=a.tfvars
#
# There is no provider block: address and token come from the environment, so neither gets
# into the state, the plan or a file of this directory, and a caller may use the module many
# times.
#
# No secret is in the state. That has been so by design, with every provider:
# - logins are reviewed with the client's own token, so there is no reviewer JWT to keep;
# - the password of a database is set past Terraform, by the database's owner (database.tf);
# - a transit key is made by its first use, inside Vault.
# What the provider of 2019 costs: it has no write-only arguments, so a secret that is given
# to it lands in the state; therefore none is. Today's could take one (data_json_wo), but the
# older ones would refuse the module. Both log their tokens with TF_LOG=DEBUG: do not set it.
terraform {
  # The tests need 1.7, or OpenTofu 1.8: those have mock providers.
  required_version = ">= 1.5.0"

  required_providers {
    vault = {
      source = "hashicorp/vault"
      # Only what 1.9.0 knew and what today's still knows is used: four native resources
      # that did not change, and the generic endpoint for the rest. The native resources for
      # Kubernetes roles and configuration of 1.9.0 are blind to changes made out of band.
      version = ">= 1.9.0"
    }
  }
}

# Admins log in as Google service accounts: no password, and no token that lives for years.
# Whoever may sign as such an account (roles/iam.serviceAccountTokenCreator on that account
# alone, with IAM conditions and Google's own second factor) is an admin for an hour:
#
#   vault login -method=gcp -path=gcp role=admin service_account=vault-admin@PROJECT.iam.gserviceaccount.com
#
# It gives out the policy admin, so it is applied with a token of that policy, and never by
# the provisioner, whose own may not write here. The first time that is a root token of the
# break-glass ceremony. Address and token come from the environment, as in module tenant.
#
# No credential is written: Vault looks accounts and their keys up by its own Workload
# Identity. (Given to this provider of 2019 or to today's, credentials would be in the state,
# in the plan, and in the backup after a destroy.)
terraform {
  required_version = ">= 1.5.0" # as in module tenant

  required_providers {
    vault = {
      source  = "hashicorp/vault"
      version = ">= 1.9.0" # as in module tenant
    }
  }
}

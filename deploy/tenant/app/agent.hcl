vault {
  address = "https://vault.example.test:443"
  ca_cert = "/etc/authorities/vault.crt"
  # An election takes seconds, a certificate or a network that is broken takes people:
  # some 40 s of tries, and then the template begins anew.
  retry {
    num_retries = 24
  }
}

auto_auth {
  method {
    type        = "kubernetes"
    mount_path  = "auth/tenant-example"
    min_backoff = "250ms"
    max_backoff = "2s"
    config = {
      role       = "role-example"
      token_path = "/var/run/secrets/vault/token"
    }
  }

  # For the application's own requests. The volume is in memory.
  sink {
    type = "file"
    config = {
      path = "/run/vault/token"
    }
  }
}

template_config {
  exit_on_retry_failure = false
}

# Replaced as a whole whenever there are new credentials.
template {
  destination          = "/run/vault/database.json"
  perms                = "0640"
  error_on_missing_key = true
  contents             = <<EOT
{{ with secret "tenant-database/example/creds/role-example" -}}
{"lease": {{ .LeaseID | toJSON }}, "username": {{ .Data.username | toJSON }}, "password": {{ .Data.password | toJSON }}}
{{- end }}
EOT
}

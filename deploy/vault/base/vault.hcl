# No browser interface: less to attack, and the API does all of it.
ui = false

# Vault asks for an explicit choice with raft. Locking memory would need CAP_IPC_LOCK,
# which Pod Security "restricted" forbids; the nodes must run without swap instead.
disable_mlock = true

# A failure must be readable by a machine; debug and trace may print request contents.
log_format = "json"
log_level  = "info"

# Short leases by default: a leaked token dies soon, whoever needs longer renews.
default_lease_ttl = "1h"
max_lease_ttl     = "768h"

# Both would let a token with wide rights see storage as it is.
raw_storage_endpoint   = false
introspection_endpoint = false

# Every answer says which pod gave it, so that a client can prove who served it.
enable_response_header_hostname     = true
enable_response_header_raft_node_id = true

# VAULT_API_ADDR, VAULT_CLUSTER_ADDR and VAULT_RAFT_NODE_ID of the pod give the
# addresses and the node's name: each pod has its own, this file is shared.

listener "tcp" {
  # IPv4 only, loopback included: the same listener, the same TLS.
  address         = "0.0.0.0:8200"
  cluster_address = "0.0.0.0:8201"

  tls_cert_file   = "/vault/tls/tls.crt"
  tls_key_file    = "/vault/tls/tls.key"
  tls_min_version = "tls12"

  # Metrics, profiles and requests in flight only with a token.
  telemetry {
    unauthenticated_metrics_access = false
  }
  profiling {
    unauthenticated_pprof_access = false
  }
  inflight_requests_logging {
    unauthenticated_in_flight_requests_access = false
  }

  # A browser that was here once never tries plain HTTP again (one year).
  custom_response_headers {
    "default" = {
      "Strict-Transport-Security" = ["max-age=31536000; includeSubDomains"]
    }
  }
}

storage "raft" {
  path = "/vault/data"

  # Raft's own timeouts (1 s heartbeat and election) instead of five times as much:
  # a dead active pod is noticed in 1 to 2 s.
  performance_multiplier = "1"

  # Every pod knows all three: whoever starts first is found by the others.
  # The certificate must be for the name that was dialled; nothing is skipped.
  retry_join {
    leader_api_addr       = "https://vault-0.vault-internal:8200"
    leader_ca_cert_file   = "/vault/tls/ca.crt"
    leader_tls_servername = "vault-0.vault-internal"
  }
  retry_join {
    leader_api_addr       = "https://vault-1.vault-internal:8200"
    leader_ca_cert_file   = "/vault/tls/ca.crt"
    leader_tls_servername = "vault-1.vault-internal"
  }
  retry_join {
    leader_api_addr       = "https://vault-2.vault-internal:8200"
    leader_ca_cert_file   = "/vault/tls/ca.crt"
    leader_tls_servername = "vault-2.vault-internal"
  }
}

# Publishes active, sealed and initialised as labels of the pod; vault-active selects by them.
service_registration "kubernetes" {}

telemetry {
  prometheus_retention_time = "1h"
  # The pod's name is a label of the scrape already.
  disable_hostname = true
}

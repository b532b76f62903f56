package stack

import (
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/hashicorp/hcl"
	corev1 "k8s.io/api/core/v1"
)

// plaintext says which listener, or join, of a Vault configuration does without verified TLS.
func plaintext(config string) error {
	var root map[string]any
	if err := hcl.Decode(&root, config); err != nil {
		return fmt.Errorf("reading the configuration: %w", err)
	}
	listeners, _ := root["listener"].([]map[string]any)
	if len(listeners) == 0 {
		return errors.New("there is no listener")
	}
	for _, block := range listeners {
		for kind, bodies := range block {
			for _, body := range bodies.([]map[string]any) {
				if _, disabled := body["tls_disable"]; disabled || body["tls_cert_file"] == nil || body["tls_min_version"] != "tls12" {
					return fmt.Errorf("listener %s on %v is not TLS 1.2 or later", kind, body["address"])
				}
			}
		}
	}
	for _, storage := range root["storage"].([]map[string]any) {
		for _, raft := range storage["raft"].([]map[string]any) {
			joins, _ := raft["retry_join"].([]map[string]any)
			if len(joins) != Pods {
				return fmt.Errorf("there are %d peers to join", len(joins))
			}
			for _, join := range joins {
				address, _ := join["leader_api_addr"].(string)
				if !strings.HasPrefix(address, "https://") || join["leader_ca_cert_file"] == nil || join["leader_tls_servername"] == nil {
					return fmt.Errorf("joining %q is not verified", address)
				}
			}
		}
	}
	return nil
}

func TestNoPlaintext(t *testing.T) {
	config := typed(t, rendered(t), "ConfigMap", "vault-config", &corev1.ConfigMap{}).Data["vault.hcl"]
	if err := plaintext(config); err != nil {
		t.Error(err)
	}
	for _, want := range []string{"disable_mlock = true", `service_registration "kubernetes"`, `performance_multiplier = "1"`, "raw_storage_endpoint   = false"} {
		if !strings.Contains(config, want) {
			t.Errorf("the configuration lacks %q", want)
		}
	}
	for name, broken := range map[string]string{
		"TLS off":          strings.Replace(config, `tls_cert_file   =`, "tls_disable = true\n tls_cert_file   =", 1),
		"loopback":         config + "\nlistener \"tcp\" {\n address = \"127.0.0.1:8200\"\n tls_disable = true\n}\n",
		"old TLS":          strings.Replace(config, "tls12", "tls10", 1),
		"join over http":   strings.Replace(config, "https://vault-1", "http://vault-1", 1),
		"join without CA":  strings.Replace(config, "leader_ca_cert_file", "leader_client_cert_file", 1),
		"no configuration": "",
	} {
		if plaintext(broken) == nil {
			t.Errorf("%s was not noticed", name)
		}
	}
}

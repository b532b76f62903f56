package ingress

import (
	"slices"
	"strings"
	"testing"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"sigs.k8s.io/yaml"
)

const gatewayObjects = `
- {apiVersion: gateway.networking.k8s.io/v1, kind: GatewayClass, metadata: {name: traefik}, spec: {controllerName: traefik.io/gateway-controller}}
- apiVersion: gateway.networking.k8s.io/v1
  kind: Gateway
  metadata: {namespace: ingress, name: edge}
  spec:
    gatewayClassName: traefik
    listeners:
      - {name: web, protocol: HTTP, port: 8000}
      - {name: vault, protocol: TLS, port: 8443, hostname: gate.example.org, tls: {mode: MODE}}
      - {name: shop, protocol: TLS, port: 9443, tls: {mode: Terminate, certificateRefs: [{name: shop}]}}
- apiVersion: gateway.networking.k8s.io/v1
  kind: TLSRoute
  metadata: {namespace: vault, name: vault}
  spec:
    hostnames: [vault.example.org]
    parentRefs: [{namespace: ingress, name: PARENT, sectionName: vault}, {kind: Service, name: mesh}]
    rules: [{backendRefs: [{name: vault-active, port: 8200}]}]
`

func TestTLSRoutes(t *testing.T) {
	for name, c := range map[string]struct {
		mode, parent string
		edit         func(string) string
		want         func([]Door) bool
	}{
		"passes TLS through": {"Passthrough", "edge", nil, func(d []Door) bool {
			return len(d) == 1 && d[0].Passthrough && d[0].Host == "vault.example.org" && len(d[0].Entries) == 1 && len(d[0].Secrets) == 0
		}},
		"terminates TLS": {"Terminate", "edge", nil, func(d []Door) bool { return len(d) == 1 && !d[0].Passthrough }},
		"has no gateway": {"Passthrough", "gone", nil, func(d []Door) bool { return len(d) == 0 }},
		"names no section": {"Passthrough", "edge", func(s string) string { return strings.Replace(s, ", sectionName: vault", "", 1) }, func(d []Door) bool {
			return len(d) == 2 && slices.ContainsFunc(d, func(d Door) bool { return slices.Equal(d.Secrets, []string{"ingress/shop"}) })
		}},
		"names no host": {"Passthrough", "edge", func(s string) string { return strings.Replace(s, "hostnames: [vault.example.org]", "", 1) }, func(d []Door) bool {
			return len(d) == 1 && d[0].Host == "gate.example.org"
		}},
		"has an unknown class": {"Passthrough", "edge", func(s string) string {
			return strings.Replace(s, "gatewayClassName: traefik", "gatewayClassName: gone", 1)
		}, func(d []Door) bool {
			return len(d) == 1 && len(d[0].Entries) == 0
		}},
		"leads elsewhere": {"Passthrough", "edge", func(s string) string { return strings.Replace(s, "vault-active", "shop", 1) }, func(d []Door) bool { return len(d) == 0 }},
	} {
		text := strings.NewReplacer("MODE", c.mode, "PARENT", c.parent).Replace(gatewayObjects)
		if c.edit != nil {
			text = c.edit(text)
		}
		var raw []map[string]any
		if err := yaml.Unmarshal([]byte(text), &raw); err != nil {
			t.Fatal(err)
		}
		var objects []*unstructured.Unstructured
		for _, r := range raw {
			objects = append(objects, &unstructured.Unstructured{Object: r})
		}
		if doors := doorsIn(t, []runtime.Object{controllerPod("ingress", "traefik")}, objects...); !c.want(doors) {
			t.Errorf("a route that %s: found %+v", name, doors)
		}
	}
}

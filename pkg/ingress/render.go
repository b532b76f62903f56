package ingress

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"io/fs"
	"maps"
	"net/netip"
	"path"
	"slices"

	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"github.com/vaultproof/vaultproof/deploy"
	"github.com/vaultproof/vaultproof/pkg/kube"
	"github.com/vaultproof/vaultproof/pkg/kustomize"
)

// checksumAnnotation on the pod template rolls the pods when their configuration changes.
const checksumAnnotation = "vaultproof.dev/config-checksum"

// Render returns every object as Deploy would apply it to a cluster that knows the Gateway
// API, with a documentation address where only a cluster knows better.
func Render(opts Options) (kube.Objects, error) { return render(opts.withDefaults(), documented) }

// fill is one field of one object that only a cluster, or the options, know.
type fill struct {
	kind, name string
	value      any
	at         []string
}

func render(opts Options, f facts) (kube.Objects, error) {
	objects, err := build(opts.Overlay, f.vault.IsValid())
	if err != nil {
		return nil, err
	}
	objects.Manage()
	fills := []fill{
		{"Service", "vault", opts.VaultService + "." + opts.VaultNamespace + ".svc.cluster.local", []string{"spec", "externalName"}},
		{"NetworkPolicy", "vault", toVault(opts), []string{"spec", "egress"}},
		{"NetworkPolicy", "api-server", toServers(f.servers), []string{"spec", "egress"}},
	}
	if f.vault.IsValid() {
		fills = append(fills,
			fill{"EndpointSlice", "vault-address", string(familyOf(f.vault)), []string{"addressType"}},
			fill{"EndpointSlice", "vault-address", toAddress(f.vault), []string{"endpoints"}},
			fill{"TLSRoute", "vault", []any{opts.Host}, []string{"spec", "hostnames"}})
	}
	for _, f := range fills {
		object := objects.Find(f.kind, f.name)
		if object == nil {
			return nil, fmt.Errorf("the manifests have no %s %s", f.kind, f.name)
		}
		if err := unstructured.SetNestedField(object.Object, f.value, f.at...); err != nil {
			return nil, fmt.Errorf("filling in %s: %w", kube.String(object), err)
		}
	}
	if err := setHost(objects, opts.Host); err != nil {
		return nil, err
	}
	return objects, stamp(objects)
}

// chosen is what kustomize is run over.
const chosen = `apiVersion: kustomize.config.k8s.io/v1beta1
kind: Kustomization
resources: [../ingress/overlays/%s]
`

// build runs kustomize over the embedded manifests: an overlay, with or without what the
// Gateway API adds.
func build(overlay string, gateway bool) (kube.Objects, error) {
	if _, err := fs.Stat(deploy.FS, path.Join("ingress/overlays", overlay)); err != nil {
		return nil, fmt.Errorf("there is no overlay %q of the ingress", overlay)
	}
	choice := fmt.Sprintf(chosen, overlay)
	if gateway {
		choice += "components: [../ingress/gateway]\n"
	}
	objects, err := kustomize.Build(deploy.FS, "chosen", []byte(choice))
	if err != nil {
		return nil, fmt.Errorf("rendering overlay %s of the ingress: %w", overlay, err)
	}
	return objects, nil
}

// setHost puts the public name into the Ingress.
func setHost(objects kube.Objects, host string) error {
	object := objects.Find("Ingress", "vault")
	if object == nil {
		return fmt.Errorf("the manifests have no Ingress vault")
	}
	rules, _, err := unstructured.NestedSlice(object.Object, "spec", "rules")
	if err != nil || len(rules) != 1 {
		return fmt.Errorf("Ingress vault has %d rules, want 1", len(rules))
	}
	rule, ok := rules[0].(map[string]any)
	if !ok {
		return fmt.Errorf("the rule of Ingress vault is malformed")
	}
	rule["host"] = host
	return unstructured.SetNestedSlice(object.Object, rules, "spec", "rules")
}

// toVault opens the way to the pods behind Vault's Service.
func toVault(opts Options) []any {
	return []any{map[string]any{
		"to": []any{map[string]any{
			"namespaceSelector": map[string]any{"matchLabels": map[string]any{corev1.LabelMetadataName: opts.VaultNamespace}},
			"podSelector":       map[string]any{"matchLabels": map[string]any{"app.kubernetes.io/name": "vault", "component": "server"}},
		}},
		"ports": []any{map[string]any{"protocol": "TCP", "port": int64(8200)}},
	}}
}

// toServers opens the way to the API server.
func toServers(servers []netip.AddrPort) []any {
	var rules []any
	for _, s := range servers {
		block := netip.PrefixFrom(s.Addr(), s.Addr().BitLen()).String()
		rules = append(rules, map[string]any{
			"to":    []any{map[string]any{"ipBlock": map[string]any{"cidr": block}}},
			"ports": []any{map[string]any{"protocol": "TCP", "port": int64(s.Port())}},
		})
	}
	return rules
}

// toAddress is the one endpoint of the Service that routes lead to.
func toAddress(address netip.Addr) []any {
	return []any{map[string]any{"addresses": []any{address.String()}, "conditions": map[string]any{"ready": true}}}
}

func familyOf(address netip.Addr) discoveryv1.AddressType {
	if address.Is4() {
		return discoveryv1.AddressTypeIPv4
	}
	return discoveryv1.AddressTypeIPv6
}

// stamp writes a checksum of Traefik's configuration into the pod template.
func stamp(objects kube.Objects) error {
	config, deployment := objects.Find("ConfigMap", "traefik-config"), objects.Find("Deployment", "traefik")
	if config == nil || deployment == nil {
		return fmt.Errorf("the manifests lack ConfigMap traefik-config or Deployment traefik")
	}
	data, _, err := unstructured.NestedStringMap(config.Object, "data")
	if err != nil {
		return fmt.Errorf("reading ConfigMap traefik-config: %w", err)
	}
	digest := sha256.New()
	for _, key := range slices.Sorted(maps.Keys(data)) {
		fmt.Fprintf(digest, "%s\x00%s\x00", key, data[key])
	}
	sum := hex.EncodeToString(digest.Sum(nil))[:16]
	return unstructured.SetNestedField(deployment.Object, sum, "spec", "template", "metadata", "annotations", checksumAnnotation)
}

package stack

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"io/fs"
	"path"
	"slices"

	corev1 "k8s.io/api/core/v1"
	networkingv1 "k8s.io/api/networking/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/util/intstr"
	"sigs.k8s.io/yaml"

	"github.com/vaultproof/vaultproof/deploy"
	"github.com/vaultproof/vaultproof/pkg/kube"
	"github.com/vaultproof/vaultproof/pkg/kustomize"
)

// facts are what only the cluster, or this moment, knows.
type facts struct {
	apiServer []address
	custody   []address
	tls       certificates
}

// checksumAnnotation on the pod template rolls the pods when their configuration changes.
const checksumAnnotation = "vaultproof.dev/config-checksum"

// render builds every object of the stack.
func render(opts Options, f facts) (kube.Objects, error) {
	objects, err := build(opts)
	if err != nil {
		return nil, err
	}
	added, err := runtimeObjects(opts, f)
	if err != nil {
		return nil, err
	}
	objects = append(objects, added...)
	objects.Manage()
	for name, addresses := range map[string][]address{"vault-api-server": f.apiServer, "vault-custody": f.custody} {
		if err := allow(objects, name, addresses); err != nil {
			return nil, err
		}
	}
	if err := fillPods(objects, opts); err != nil {
		return nil, err
	}
	return objects, nil
}

// build runs kustomize over the embedded manifests, in the namespace of opts.
func build(opts Options) (kube.Objects, error) {
	overlay := path.Join("vault/overlays", opts.Overlay)
	if _, err := fs.Stat(deploy.FS, overlay); err != nil {
		return nil, fmt.Errorf("there is no overlay %q: there are %v", opts.Overlay, overlays())
	}
	top, err := topKustomization(opts.Namespace, overlay)
	if err != nil {
		return nil, err
	}
	objects, err := kustomize.Build(deploy.FS, "deployment", top)
	if err != nil {
		return nil, fmt.Errorf("rendering %s: %w", overlay, err)
	}
	return objects, nil
}

// topKustomization puts an overlay into a namespace. The short form "namespace:" would
// leave the subjects of role bindings in the old one.
func topKustomization(namespace, overlay string) ([]byte, error) {
	transformer, err := yaml.Marshal(map[string]any{
		"apiVersion":             "builtin",
		"kind":                   "NamespaceTransformer",
		"metadata":               map[string]any{"name": "namespace", "namespace": namespace},
		"setRoleBindingSubjects": "allServiceAccounts",
		"fieldSpecs": []map[string]any{
			{"path": "metadata/namespace", "create": true},
			{"path": "metadata/name", "kind": "Namespace", "create": true},
		},
	})
	if err != nil {
		return nil, fmt.Errorf("writing the namespace transformer: %w", err)
	}
	top, err := yaml.Marshal(map[string]any{
		"resources":    []string{"../" + overlay},
		"transformers": []string{string(transformer)},
	})
	if err != nil {
		return nil, fmt.Errorf("writing the top kustomization: %w", err)
	}
	return top, nil
}

func overlays() []string {
	var names []string
	entries, _ := fs.ReadDir(deploy.FS, "vault/overlays")
	for _, entry := range entries {
		names = append(names, entry.Name())
	}
	return names
}

// runtimeObjects are those whose content is not in the manifests.
func runtimeObjects(opts Options, f facts) (kube.Objects, error) {
	meta := func(name string) metav1.ObjectMeta {
		return metav1.ObjectMeta{Name: name, Namespace: opts.Namespace}
	}
	where := map[string]string{
		"endpoint": opts.Custody.Endpoint,
		"project":  opts.Custody.Project,
		"audience": opts.Custody.Audience,
		"prefix":   opts.Custody.Prefix,
	}
	if len(opts.Custody.CAPEM) > 0 {
		where["ca.crt"] = string(opts.Custody.CAPEM)
	}
	typed := []any{
		&corev1.ConfigMap{
			TypeMeta:   metav1.TypeMeta{APIVersion: "v1", Kind: "ConfigMap"},
			ObjectMeta: meta(custodyMap),
			Data:       where,
		},
		&corev1.ConfigMap{
			TypeMeta:   metav1.TypeMeta{APIVersion: "v1", Kind: "ConfigMap"},
			ObjectMeta: meta(caConfigMap),
			Data:       map[string]string{"ca.crt": string(f.tls.trust)},
		},
	}
	if !f.tls.managed {
		typed = append(typed, tlsObject(meta(tlsSecret), f.tls.server), tlsObject(meta(authoritySecret), f.tls.authority))
	}
	var objects kube.Objects
	for _, object := range typed {
		content, err := runtime.DefaultUnstructuredConverter.ToUnstructured(object)
		if err != nil {
			return nil, fmt.Errorf("converting %T: %w", object, err)
		}
		unstructured.RemoveNestedField(content, "metadata", "creationTimestamp")
		objects = append(objects, &unstructured.Unstructured{Object: content})
	}
	return objects, nil
}

// allow puts addresses into the single egress rule of a network policy.
func allow(objects kube.Objects, name string, addresses []address) error {
	policy := objects.Find("NetworkPolicy", name)
	if policy == nil {
		return fmt.Errorf("the manifests have no network policy %s", name)
	}
	var rules []any
	for _, a := range addresses {
		rule := networkingv1.NetworkPolicyEgressRule{
			To: []networkingv1.NetworkPolicyPeer{{IPBlock: &networkingv1.IPBlock{CIDR: a.cidr}}},
			Ports: []networkingv1.NetworkPolicyPort{{
				Protocol: pointer(corev1.ProtocolTCP),
				Port:     pointer(intstr.FromInt32(a.port)),
			}},
		}
		content, err := runtime.DefaultUnstructuredConverter.ToUnstructured(&rule)
		if err != nil {
			return fmt.Errorf("writing the rules of network policy %s: %w", name, err)
		}
		rules = append(rules, content)
	}
	if len(rules) == 0 {
		return fmt.Errorf("network policy %s would open nothing: no address is known for it", name)
	}
	if err := unstructured.SetNestedSlice(policy.Object, rules, "spec", "egress"); err != nil {
		return fmt.Errorf("writing the rules of network policy %s: %w", name, err)
	}
	return nil
}

// fillPods gives the pod template the audience of custody and the checksum of its configuration.
func fillPods(objects kube.Objects, opts Options) error {
	set := objects.Find("StatefulSet", statefulSetName)
	if set == nil {
		return fmt.Errorf("the manifests have no StatefulSet %s", statefulSetName)
	}
	volumes, _, err := unstructured.NestedSlice(set.Object, "spec", "template", "spec", "volumes")
	if err != nil {
		return fmt.Errorf("reading the volumes of StatefulSet %s: %w", statefulSetName, err)
	}
	filled := false
	for _, volume := range volumes {
		v, ok := volume.(map[string]any)
		if !ok || v["name"] != "custody-token" {
			continue
		}
		sources, _, err := unstructured.NestedSlice(v, "projected", "sources")
		if err != nil || len(sources) != 1 {
			return fmt.Errorf("volume custody-token of StatefulSet %s has %d sources, want 1", statefulSetName, len(sources))
		}
		source, ok := sources[0].(map[string]any)
		if !ok {
			return fmt.Errorf("volume custody-token of StatefulSet %s is malformed", statefulSetName)
		}
		if err := unstructured.SetNestedField(source, opts.Custody.Audience, "serviceAccountToken", "audience"); err != nil {
			return fmt.Errorf("setting the audience of volume custody-token: %w", err)
		}
		if err := unstructured.SetNestedSlice(v, sources, "projected", "sources"); err != nil {
			return fmt.Errorf("setting the audience of volume custody-token: %w", err)
		}
		filled = true
	}
	if !filled {
		return fmt.Errorf("StatefulSet %s has no volume custody-token", statefulSetName)
	}
	if err := unstructured.SetNestedSlice(set.Object, volumes, "spec", "template", "spec", "volumes"); err != nil {
		return fmt.Errorf("writing the volumes of StatefulSet %s: %w", statefulSetName, err)
	}
	sum, err := checksum(objects)
	if err != nil {
		return err
	}
	return unstructured.SetNestedField(set.Object, sum, "spec", "template", "metadata", "annotations", checksumAnnotation)
}

// checksum covers the configuration that a process reads only when it starts. The
// certificates are not part of it: they are reloaded.
func checksum(objects kube.Objects) (string, error) {
	digest := sha256.New()
	for _, name := range []string{configMap, custodyMap} {
		object := objects.Find("ConfigMap", name)
		if object == nil {
			return "", fmt.Errorf("the manifests have no ConfigMap %s", name)
		}
		data, _, err := unstructured.NestedStringMap(object.Object, "data")
		if err != nil {
			return "", fmt.Errorf("reading ConfigMap %s: %w", name, err)
		}
		var keys []string
		for key := range data {
			keys = append(keys, key)
		}
		slices.Sort(keys)
		for _, key := range keys {
			fmt.Fprintf(digest, "%s/%s\x00%s\x00", name, key, data[key])
		}
	}
	return hex.EncodeToString(digest.Sum(nil))[:16], nil
}

func pointer[T any](value T) *T { return &value }

package ingress

import (
	"net/netip"
	"slices"
	"strings"
	"testing"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	networkingv1 "k8s.io/api/networking/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/client-go/kubernetes/scheme"

	"github.com/vaultproof/vaultproof/pkg/kube"
)

func rendered(t *testing.T, opts Options) kube.Objects {
	t.Helper()
	objects, err := Render(opts)
	if err != nil {
		t.Fatal(err)
	}
	return objects
}

// typed decodes an object; a field that its type does not have is an error.
func typed[T runtime.Object](t *testing.T, objects kube.Objects, kind, name string, into T) T {
	t.Helper()
	object := objects.Find(kind, name)
	if object == nil {
		t.Fatalf("there is no %s %s", kind, name)
	}
	if err := runtime.DefaultUnstructuredConverter.FromUnstructuredWithValidation(object.Object, into, true); err != nil {
		t.Fatalf("%s: %v", kube.String(object), err)
	}
	return into
}

func TestEveryObjectIsValid(t *testing.T) {
	for _, overlay := range []string{"kind", "gke"} {
		for _, object := range rendered(t, Options{Overlay: overlay}) {
			if object.GroupVersionKind().Group != gatewayGroup { // those have definitions of their own
				into, err := scheme.Scheme.New(object.GroupVersionKind())
				if err != nil {
					t.Fatalf("%s: %v", kube.String(object), err)
				}
				if err := runtime.DefaultUnstructuredConverter.FromUnstructuredWithValidation(object.Object, into, true); err != nil {
					t.Errorf("%s: %v", kube.String(object), err)
				}
			}
			outer := slices.Contains([]string{"Namespace", "ClusterRole", "ClusterRoleBinding", "IngressClass", "GatewayClass"}, object.GetKind())
			if !kube.Managed(object) || outer != (object.GetNamespace() == "") || !outer && object.GetNamespace() != Namespace {
				t.Errorf("%s is not ours, or not in namespace %s", kube.String(object), Namespace)
			}
		}
	}
	if _, err := Render(Options{Overlay: "moon"}); err == nil || !strings.Contains(err.Error(), "moon") {
		t.Errorf("an overlay that does not exist: %v", err)
	}
}

func TestTheIngressHoldsNoKeyAndCanReadNone(t *testing.T) {
	objects := rendered(t, Options{})
	ing := typed(t, objects, "Ingress", "vault", &networkingv1.Ingress{})
	if len(ing.Spec.TLS) > 0 || ing.Annotations[PassthroughAnnotation] != "true" || ing.Spec.Rules[0].Host != DefaultHost || ing.Spec.Rules[0].HTTP.Paths[0].Path != "/" {
		t.Errorf("the Ingress is %+v with annotations %v", ing.Spec, ing.Annotations)
	}
	for _, object := range objects {
		switch object.GetKind() {
		case "Secret":
			t.Errorf("%s is in the manifests", kube.String(object))
		case "ClusterRole":
			role := typed(t, objects, "ClusterRole", object.GetName(), &rbacv1.ClusterRole{})
			for _, rule := range role.Rules {
				for _, resource := range rule.Resources {
					if !slices.Contains([]string{"ingressclasses", "namespaces", "gatewayclasses", "gatewayclasses/status"}, resource) {
						t.Errorf("ClusterRole %s reaches %s in every namespace", role.Name, resource)
					}
				}
			}
		case "Role", "RoleBinding":
			if object.GetNamespace() != Namespace {
				t.Errorf("%s grants a right in another namespace", kube.String(object))
			}
		}
	}
	pod := typed(t, objects, "Deployment", "traefik", &appsv1.Deployment{}).Spec.Template.Spec
	for _, v := range pod.Volumes {
		if v.Secret != nil || v.HostPath != nil {
			t.Errorf("Traefik mounts volume %s", v.Name)
		}
	}
}

func TestThePodIsRestricted(t *testing.T) {
	d := typed(t, rendered(t, Options{}), "Deployment", "traefik", &appsv1.Deployment{})
	pod := d.Spec.Template.Spec
	c := pod.Containers[0]
	s := c.SecurityContext
	if *pod.AutomountServiceAccountToken || !*pod.SecurityContext.RunAsNonRoot || *pod.SecurityContext.RunAsUser == 0 || pod.HostNetwork ||
		*s.AllowPrivilegeEscalation || !*s.ReadOnlyRootFilesystem || !slices.Equal(s.Capabilities.Drop, []corev1.Capability{"ALL"}) || len(s.Capabilities.Add) > 0 ||
		s.SeccompProfile.Type != corev1.SeccompProfileTypeRuntimeDefault {
		t.Errorf("the pod is less than restricted: %+v, %+v", pod.SecurityContext, s)
	}
	for _, p := range c.Ports {
		if p.ContainerPort < 1024 || p.HostPort != 0 {
			t.Errorf("port %+v needs a capability, or takes the node's", p)
		}
	}
	if d.Spec.Template.Labels["vaultproof.dev/client"] != "vault" {
		t.Error("Vault's network policy keeps the ingress out")
	}
	if d.Spec.Template.Annotations[checksumAnnotation] == "" {
		t.Error("a new configuration would not roll the pods")
	}
}

func TestWhatOnlyTheClusterKnowsIsFilledIn(t *testing.T) {
	opts := Options{Host: "keys.example.org", VaultNamespace: "keys", VaultService: "active"}.withDefaults()
	objects, err := render(opts, facts{
		servers: []netip.AddrPort{netip.MustParseAddrPort("10.96.0.1:443"), netip.MustParseAddrPort("172.18.0.2:6443")},
		vault:   netip.MustParseAddr("fd00::1"),
	})
	if err != nil {
		t.Fatal(err)
	}
	if name := typed(t, objects, "Service", "vault", &corev1.Service{}).Spec.ExternalName; name != "active.keys.svc.cluster.local" {
		t.Errorf("the Service leads to %s", name)
	}
	if host := typed(t, objects, "Ingress", "vault", &networkingv1.Ingress{}).Spec.Rules[0].Host; host != "keys.example.org" {
		t.Errorf("the host is %s", host)
	}
	egress := typed(t, objects, "NetworkPolicy", "vault", &networkingv1.NetworkPolicy{}).Spec.Egress
	if len(egress) != 1 || egress[0].To[0].NamespaceSelector.MatchLabels[corev1.LabelMetadataName] != "keys" || egress[0].Ports[0].Port.IntValue() != 8200 {
		t.Errorf("the way to Vault is %+v", egress)
	}
	if slice := typed(t, objects, "EndpointSlice", "vault-address", &discoveryv1.EndpointSlice{}); slice.AddressType != discoveryv1.AddressTypeIPv6 || slice.Endpoints[0].Addresses[0] != "fd00::1" {
		t.Errorf("routes lead to %+v", slice)
	}
	if hosts, _, _ := unstructured.NestedStringSlice(objects.Find("TLSRoute", "vault").Object, "spec", "hostnames"); !slices.Equal(hosts, []string{"keys.example.org"}) {
		t.Errorf("the route is for %v", hosts)
	}
	api := typed(t, objects, "NetworkPolicy", "api-server", &networkingv1.NetworkPolicy{}).Spec.Egress
	if len(api) != 2 || api[1].To[0].IPBlock.CIDR != "172.18.0.2/32" || api[1].Ports[0].Port.IntValue() != 6443 {
		t.Errorf("the way to the API server is %+v", api)
	}
}

// TestWithoutTheGatewayAPI renders for a cluster that does not know it.
func TestWithoutTheGatewayAPI(t *testing.T) {
	objects, err := render(Options{}.withDefaults(), facts{servers: documented.servers})
	if err != nil {
		t.Fatal(err)
	}
	for _, object := range objects {
		if object.GroupVersionKind().Group == gatewayGroup || object.GetKind() == "EndpointSlice" {
			t.Errorf("%s is for the Gateway API", kube.String(object))
		}
	}
	for _, arg := range typed(t, objects, "Deployment", "traefik", &appsv1.Deployment{}).Spec.Template.Spec.Containers[0].Args {
		if strings.Contains(strings.ToLower(arg), "gateway") {
			t.Errorf("Traefik waits for ever with %s", arg)
		}
	}
}

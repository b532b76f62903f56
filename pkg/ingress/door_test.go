package ingress

import (
	"slices"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	networkingv1 "k8s.io/api/networking/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	dynamicfake "k8s.io/client-go/dynamic/fake"
	"k8s.io/client-go/kubernetes/fake"
	ktesting "k8s.io/client-go/testing"
)

// cluster is one in which doors are looked for.
type cluster struct {
	client  *fake.Clientset
	dynamic *dynamicfake.FakeDynamicClient
}

func clusterOf(t *testing.T, objects []runtime.Object, gateways ...*unstructured.Unstructured) *cluster {
	t.Helper()
	lists := map[schema.GroupVersionResource]string{}
	for _, version := range routeVersions {
		lists[schema.GroupVersionResource{Group: gatewayGroup, Version: version, Resource: "tlsroutes"}] = "TLSRouteList"
	}
	c := &cluster{client: fake.NewClientset(objects...), dynamic: dynamicfake.NewSimpleDynamicClientWithCustomListKinds(runtime.NewScheme(), lists)}
	for _, g := range gateways {
		name := map[string]string{"TLSRoute": "tlsroutes", "Gateway": "gateways", "GatewayClass": "gatewayclasses"}[g.GetKind()]
		if name == "" {
			continue
		}
		if err := c.dynamic.Tracker().Create(gatewayResource(name), g, g.GetNamespace()); err != nil {
			t.Fatal(err)
		}
	}
	return c
}

// refuse has the API refuse to list a kind.
func refuse(f *ktesting.Fake, resource string, refusal error) {
	f.PrependReactor("list", resource, func(ktesting.Action) (bool, runtime.Object, error) { return true, nil, refusal })
}

func (c *cluster) ways(t *testing.T) Ways {
	t.Helper()
	f := &finder{client: c.client, dynamic: c.dynamic, vault: Vault{Namespace: "vault", Services: []string{"vault-active", "vault-internal"}}}
	ways, err := f.find(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	return ways
}

func doorsIn(t *testing.T, objects []runtime.Object, gateways ...*unstructured.Unstructured) []Door {
	t.Helper()
	return clusterOf(t, objects, gateways...).ways(t).Doors
}

func controllerPod(namespace, app string) *corev1.Pod {
	return &corev1.Pod{
		ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: app + "-0", Labels: map[string]string{"app.kubernetes.io/name": app}},
		Spec:       corev1.PodSpec{Containers: []corev1.Container{{Ports: []corev1.ContainerPort{{Name: "web", ContainerPort: 8000}, {Name: "websecure", ContainerPort: 8443}}}}},
		Status:     corev1.PodStatus{Phase: corev1.PodRunning, Conditions: []corev1.PodCondition{{Type: corev1.PodReady, Status: corev1.ConditionTrue}}},
	}
}

func class(name, controller string) *networkingv1.IngressClass {
	return &networkingv1.IngressClass{ObjectMeta: metav1.ObjectMeta{Name: name}, Spec: networkingv1.IngressClassSpec{Controller: controller}}
}

func ingressTo(namespace, service, host string, edit func(*networkingv1.Ingress)) *networkingv1.Ingress {
	name := "nginx"
	ing := &networkingv1.Ingress{
		ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: "way", Annotations: map[string]string{PassthroughAnnotation: "true"}},
		Spec: networkingv1.IngressSpec{IngressClassName: &name, Rules: []networkingv1.IngressRule{{Host: host, IngressRuleValue: networkingv1.IngressRuleValue{
			HTTP: &networkingv1.HTTPIngressRuleValue{Paths: []networkingv1.HTTPIngressPath{{Path: "/", Backend: networkingv1.IngressBackend{Service: &networkingv1.IngressServiceBackend{Name: service}}}}},
		}}}},
	}
	if edit != nil {
		edit(ing)
	}
	return ing
}

// TestOurOwnDoorsAreFound finds what the manifests make in a cluster that knows both kinds.
func TestOurOwnDoorsAreFound(t *testing.T) {
	all := rendered(t, Options{})
	objects := []runtime.Object{&corev1.Service{
		ObjectMeta: metav1.ObjectMeta{Namespace: "vault", Name: "vault-active"}, Spec: corev1.ServiceSpec{ClusterIPs: []string{documented.vault.String()}, Selector: map[string]string{"a": "b"}},
	}}
	for _, object := range all {
		switch object.GetKind() {
		case "Ingress":
			objects = append(objects, typed(t, all, "Ingress", object.GetName(), &networkingv1.Ingress{}))
		case "Service":
			objects = append(objects, typed(t, all, "Service", object.GetName(), &corev1.Service{}))
		case "EndpointSlice":
			objects = append(objects, typed(t, all, "EndpointSlice", object.GetName(), &discoveryv1.EndpointSlice{}))
		case "IngressClass":
			objects = append(objects, typed(t, all, "IngressClass", object.GetName(), &networkingv1.IngressClass{}))
		}
	}
	traefik := controllerPod(Namespace, "traefik")
	traefik.Spec.Containers[0].Ports = append(traefik.Spec.Containers[0].Ports, corev1.ContainerPort{Name: "gateway", ContainerPort: 8444})
	found := map[string]Door{}
	for _, d := range doorsIn(t, append(objects, traefik), all...) {
		found[d.Object] = d
	}
	for _, object := range []string{"Ingress ingress/vault", "TLSRoute ingress/vault"} {
		if d := found[object]; d.Host != DefaultHost || !d.Passthrough || len(d.Secrets) > 0 || len(d.Entries) != 1 || d.Entries[0].DialHTTP == nil {
			t.Errorf("%s: found %+v", object, d)
		}
	}
	if len(found) != 2 {
		t.Errorf("found %d doors, want 2", len(found))
	}
}

func TestDoorsOfOthers(t *testing.T) {
	nginx := []runtime.Object{class("nginx", "k8s.io/ingress-nginx"), controllerPod("ingress-nginx", "ingress-nginx"), controllerPod("edge", "traefik")}
	for name, c := range map[string]struct {
		ingress *networkingv1.Ingress
		judge   func(Door) bool
	}{
		"passes TLS through": {ingressTo("vault", "vault-active", "v.example.org", nil), func(d Door) bool {
			// Not through a Traefik that is there for something else.
			return d.Passthrough && len(d.Pods) == 1 && d.Pods[0].Name == "ingress-nginx-0"
		}},
		"terminates TLS": {ingressTo("vault", "vault-active", "v.example.org", func(i *networkingv1.Ingress) {
			i.Annotations = nil
			i.Spec.TLS = []networkingv1.IngressTLS{{SecretName: "edge", Hosts: []string{"v.example.org"}}}
		}), func(d Door) bool {
			return !d.Passthrough && slices.Equal(d.Secrets, []string{"vault/edge"}) && len(d.Entries) == 1
		}},
		"out of sight": {ingressTo("vault", "vault-active", "*.example.org", func(i *networkingv1.Ingress) {
			other := "cloud"
			i.Spec.IngressClassName = &other
			i.Status.LoadBalancer.Ingress = []networkingv1.IngressLoadBalancerIngress{{IP: "192.0.2.9"}}
		}), func(d Door) bool {
			return len(d.Pods) == 0 && len(d.Entries) == 1 && d.Entries[0].Name == "address 192.0.2.9" && d.Name() == "vault.example.org"
		}},
		"a default backend": {ingressTo("vault", "", "", func(i *networkingv1.Ingress) {
			i.Spec.Rules = nil
			i.Spec.DefaultBackend = &networkingv1.IngressBackend{Service: &networkingv1.IngressServiceBackend{Name: "vault-internal"}}
		}), func(d Door) bool { return d.Host == "" }},
	} {
		doors := doorsIn(t, append(slices.Clone(nginx), c.ingress))
		if len(doors) != 1 || !c.judge(doors[0]) {
			t.Errorf("%s: found %+v", name, doors)
		}
	}
}

func TestWhatDoesNotLeadToVaultIsNoDoor(t *testing.T) {
	elsewhere := &corev1.Service{ObjectMeta: metav1.ObjectMeta{Namespace: "web", Name: "alias"}, Spec: corev1.ServiceSpec{Type: corev1.ServiceTypeExternalName, ExternalName: "vault-active.other.svc.cluster.local"}}
	byHand := &corev1.Service{ObjectMeta: metav1.ObjectMeta{Namespace: "web", Name: "by-hand"}}
	endpoint := &discoveryv1.EndpointSlice{
		ObjectMeta: metav1.ObjectMeta{Namespace: "web", Name: "by-hand", Labels: map[string]string{discoveryv1.LabelServiceName: "by-hand"}},
		Endpoints:  []discoveryv1.Endpoint{{Addresses: []string{"192.0.2.77"}}},
	}
	for name, ing := range map[string]*networkingv1.Ingress{
		"another service":             ingressTo("vault", "shop", "shop.example.org", nil),
		"the same name elsewhere":     ingressTo("web", "vault-active", "shop.example.org", nil),
		"an alias of another service": ingressTo("web", "alias", "shop.example.org", nil),
		"endpoints written by hand":   ingressTo("web", "by-hand", "shop.example.org", nil),
	} {
		if doors := doorsIn(t, []runtime.Object{ing, elsewhere, byHand, endpoint}); len(doors) > 0 {
			t.Errorf("%s: found %+v", name, doors)
		}
	}
}

// What a cluster does not have, or does not show, is told, and the rest is found.
func TestWhatCannotBeLookedForIsTold(t *testing.T) {
	forbidden := apierrors.NewForbidden(schema.GroupResource{}, "", nil)
	objects := []runtime.Object{class("nginx", "k8s.io/ingress-nginx"), controllerPod("edge", "traefik"), ingressTo("vault", "vault-active", "v.example.org", nil)}
	for name, c := range map[string]struct {
		edit  func(*cluster)
		doors int
		told  string
	}{
		"no Gateway API": {func(c *cluster) {
			refuse(&c.dynamic.Fake, "tlsroutes", apierrors.NewNotFound(schema.GroupResource{}, ""))
		}, 1, "TLSRoute: the cluster does not know them"},
		"routes are secret":      {func(c *cluster) { refuse(&c.dynamic.Fake, "tlsroutes", forbidden) }, 1, "TLSRoute: listing TLSRoutes"},
		"Ingresses are secret":   {func(c *cluster) { refuse(&c.client.Fake, "ingresses", forbidden) }, 0, "Ingress: listing Ingresses"},
		"controllers are secret": {func(c *cluster) { refuse(&c.client.Fake, "pods", forbidden) }, 1, ""},
		"classes are secret":     {func(c *cluster) { refuse(&c.client.Fake, "ingressclasses", forbidden) }, 1, ""},
		"services are secret":    {func(c *cluster) { refuse(&c.client.Fake, "services", forbidden) }, 1, ""},
	} {
		in := clusterOf(t, objects)
		c.edit(in)
		ways := in.ways(t)
		if len(ways.Doors) != c.doors || !strings.Contains(strings.Join(ways.Absent, "\n"), c.told) || (c.told == "") != (len(ways.Absent) == 0) {
			t.Errorf("%s: found %d doors, absent %q", name, len(ways.Doors), ways.Absent)
		}
	}
}

func TestToldDoors(t *testing.T) {
	for address, want := range map[string]string{"192.0.2.9": "address 192.0.2.9", "vault.example.org:8443": "address vault.example.org", "[fd00::9]:443": "address fd00::9", "fd00::9": "address fd00::9"} {
		if d := Told("vault.example.org", address); len(d.Entries) != 1 || d.Entries[0].Name != want || d.Host != "vault.example.org" || d.Entries[0].DialHTTP == nil {
			t.Errorf("%s: %+v", address, d)
		}
	}
}

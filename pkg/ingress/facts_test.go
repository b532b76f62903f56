package ingress

import (
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes/fake"
)

func TestAPIServers(t *testing.T) {
	port := int32(6443)
	service := &corev1.Service{ObjectMeta: metav1.ObjectMeta{Namespace: "default", Name: "kubernetes"}, Spec: corev1.ServiceSpec{ClusterIPs: []string{"10.96.0.1"}, Ports: []corev1.ServicePort{{Port: 443}}}}
	slice := &discoveryv1.EndpointSlice{
		ObjectMeta: metav1.ObjectMeta{Namespace: "default", Name: "kubernetes", Labels: map[string]string{discoveryv1.LabelServiceName: "kubernetes"}},
		Endpoints:  []discoveryv1.Endpoint{{Addresses: []string{"172.18.0.2"}}}, Ports: []discoveryv1.EndpointPort{{Port: &port}},
	}
	got, err := apiServers(t.Context(), fake.NewClientset(service, slice))
	if want := []netip.AddrPort{netip.MustParseAddrPort("10.96.0.1:443"), netip.MustParseAddrPort("172.18.0.2:6443")}; err != nil || !slices.Equal(got, want) {
		t.Errorf("got %v (%v), want %v", got, err, want)
	}
	if _, err := apiServers(t.Context(), fake.NewClientset()); err == nil {
		t.Error("a cluster without the Service has an API server")
	}
}

// gatewayAPI is what discovery tells of one, but for the kinds left out.
func gatewayAPI(but ...string) []*metav1.APIResourceList {
	var lists []*metav1.APIResourceList
	for version, kinds := range gatewayKinds {
		list := &metav1.APIResourceList{GroupVersion: gatewayGroup + "/" + version}
		for _, kind := range kinds {
			if !slices.Contains(but, kind) {
				list.APIResources = append(list.APIResources, metav1.APIResource{Name: kind})
			}
		}
		if len(list.APIResources) > 0 {
			lists = append(lists, list)
		}
	}
	return lists
}

func TestGatewayGap(t *testing.T) {
	for name, c := range map[string]struct {
		has  []*metav1.APIResourceList
		want string
	}{
		"none":              {nil, "no Gateway API"},
		"all of it":         {gatewayAPI(), ""},
		"standard channel":  {gatewayAPI("tcproutes", "tlsroutes"), "lacks tcproutes.v1alpha2, tlsroutes.v1alpha2"},
		"an older standard": {gatewayAPI("backendtlspolicies"), "lacks backendtlspolicies.v1"},
	} {
		client := fake.NewClientset()
		client.Resources = c.has
		gap, err := gatewayGap(client.Discovery())
		if err != nil || (c.want == "") != (gap == "") || !strings.Contains(gap, c.want) {
			t.Errorf("%s: %q (%v), want %q", name, gap, err, c.want)
		}
	}
}

func TestVaultAddress(t *testing.T) {
	service := &corev1.Service{ObjectMeta: metav1.ObjectMeta{Namespace: "vault", Name: "vault-active"}, Spec: corev1.ServiceSpec{ClusterIP: "10.96.7.7"}}
	opts := Options{Timeout: 2 * readyPoll}.withDefaults()
	if got, err := vaultAddress(t.Context(), fake.NewClientset(service), opts); err != nil || got.String() != "10.96.7.7" {
		t.Errorf("got %s (%v)", got, err)
	}
	service.Spec.ClusterIP = corev1.ClusterIPNone
	for _, client := range []*fake.Clientset{fake.NewClientset(), fake.NewClientset(service)} {
		start := time.Now()
		if _, err := vaultAddress(t.Context(), client, opts); err == nil || !strings.Contains(err.Error(), "deploy Vault first") || time.Since(start) < opts.Timeout/2 {
			t.Errorf("a Service that has no address: %v after %s", err, time.Since(start))
		}
	}
}

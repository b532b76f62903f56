package fault

import (
	"errors"
	"slices"
	"testing"

	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes/fake"
)

func TestDNSAddresses(t *testing.T) {
	labels := map[string]string{"k8s-app": "kube-dns"}
	service := &corev1.Service{
		ObjectMeta: metav1.ObjectMeta{Namespace: dnsNamespace, Name: "kube-dns", Labels: labels},
		Spec:       corev1.ServiceSpec{ClusterIPs: []string{"10.96.0.10"}},
	}
	headless := &corev1.Service{
		ObjectMeta: metav1.ObjectMeta{Namespace: dnsNamespace, Name: "dns-metrics", Labels: labels},
		Spec:       corev1.ServiceSpec{ClusterIPs: []string{corev1.ClusterIPNone}},
	}
	slice := func(service, address string) *discoveryv1.EndpointSlice {
		return &discoveryv1.EndpointSlice{
			ObjectMeta: metav1.ObjectMeta{Namespace: dnsNamespace, Name: service, Labels: map[string]string{discoveryv1.LabelServiceName: service}},
			Endpoints:  []discoveryv1.Endpoint{{Addresses: []string{address}}},
		}
	}
	client := fake.NewClientset(service, headless, slice("kube-dns", "10.244.0.2"), slice("something-else", "10.244.0.9"))
	got, err := (&Env{Client: client}).dnsAddresses(t.Context())
	if want := []string{"10.244.0.2", "10.96.0.10"}; err != nil || !slices.Equal(got, want) {
		t.Errorf("addresses %v (%v), want %v", got, err, want)
	}
	if _, err := (&Env{Client: fake.NewClientset()}).dnsAddresses(t.Context()); !errors.Is(err, ErrUnavailable) {
		t.Errorf("in a cluster without DNS: %v, want ErrUnavailable", err)
	}
}

func TestDNSOutageOfNobody(t *testing.T) {
	if _, err := (&DNSOutage{Env: &Env{}}).Inject(t.Context()); !errors.Is(err, ErrUnavailable) {
		t.Errorf("%v, want ErrUnavailable", err)
	}
}

package routing

import (
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

func service(name string, publish bool) corev1.Service {
	return corev1.Service{ObjectMeta: metav1.ObjectMeta{Name: name}, Spec: corev1.ServiceSpec{PublishNotReadyAddresses: publish}}
}

func TestPublishing(t *testing.T) {
	for name, c := range map[string]struct {
		services []corev1.Service
		headless string
		want     string
	}{
		"right":            {[]corev1.Service{service("vault-active", false), service("vault-internal", true)}, "vault-internal", ""},
		"client publishes": {[]corev1.Service{service("vault-active", true), service("vault-internal", true)}, "vault-internal", "Service vault-active has publishNotReadyAddresses=true"},
		"peers hidden":     {[]corev1.Service{service("vault-active", false), service("vault-internal", false)}, "vault-internal", "headless Service vault-internal has publishNotReadyAddresses=false"},
		"no headless":      {[]corev1.Service{service("vault-active", false)}, "", "no headless Service"},
		"client gone":      {[]corev1.Service{service("vault-internal", true)}, "vault-internal", "Service vault-active is gone"},
	} {
		err := publishing(c.services, []string{"vault-active"}, c.headless)
		if (c.want == "") != (err == nil) || err != nil && !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %v, want %q", name, err, c.want)
		}
	}
	if err := publishing(nil, nil, ""); err == nil {
		t.Error("no Service at all passes")
	}
}

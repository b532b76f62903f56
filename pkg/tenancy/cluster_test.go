package tenancy

import (
	"context"
	"strings"
	"testing"
	"time"

	authenticationv1 "k8s.io/api/authentication/v1"
	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/client-go/kubernetes/fake"
	ktesting "k8s.io/client-go/testing"
)

// tenantCluster is one as the API server shows it. It notes what tokens it was asked for.
func tenantCluster(asked *[]authenticationv1.TokenRequestSpec) *fake.Clientset {
	port := int32(6443)
	client := fake.NewClientset(
		&discoveryv1.EndpointSlice{
			ObjectMeta: metav1.ObjectMeta{Namespace: "default", Name: "kubernetes", Labels: map[string]string{discoveryv1.LabelServiceName: "kubernetes"}},
			Endpoints:  []discoveryv1.Endpoint{{Addresses: []string{"172.18.0.9"}}}, Ports: []discoveryv1.EndpointPort{{Port: &port}},
		},
		&corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Namespace: "kube-system", Name: "kube-root-ca.crt"}, Data: map[string]string{"ca.crt": "PEM"}},
	)
	client.PrependReactor("create", "serviceaccounts", func(action ktesting.Action) (bool, runtime.Object, error) {
		if action.GetSubresource() != "token" {
			return false, nil, nil
		}
		request := action.(ktesting.CreateAction).GetObject().(*authenticationv1.TokenRequest).DeepCopy()
		*asked = append(*asked, request.Spec)
		if len(request.Spec.Audiences) == 0 {
			request.Spec.Audiences = []string{"https://api.example"}
		}
		request.Status.Token = "made"
		return true, request, nil
	})
	return client
}

func TestWhatVaultHasToKnowOfTheTenantCluster(t *testing.T) {
	var asked []authenticationv1.TokenRequestSpec
	c := &Cluster{Client: tenantCluster(&asked)}
	if err := c.look(t.Context()); err != nil {
		t.Fatal(err)
	}
	if c.APIServer != "https://172.18.0.9:6443" || string(c.CA) != "PEM" || c.Audience != "https://api.example" {
		t.Errorf("API server %s, CA %s, audience %s", c.APIServer, c.CA, c.Audience)
	}
	if tenant := c.Tenant("a"); tenant.Audience != "https://api.example" || tenant.Mount != "tenant-a" || tenant.Namespace != "tenant-a" {
		t.Errorf("tenant %+v", tenant)
	}
	if tenant := (&Cluster{}).Tenant("a"); tenant.Audience != DefaultAudience {
		t.Errorf("audience %s, want that of kubeadm where nothing else is known", tenant.Audience)
	}
}

func TestATenantClusterThatVaultCannotReachIsSaid(t *testing.T) {
	var asked []authenticationv1.TokenRequestSpec
	for want, spoil := range map[string]func(context.Context, *fake.Clientset) error{
		"no endpoint": func(ctx context.Context, c *fake.Clientset) error {
			return c.DiscoveryV1().EndpointSlices("default").Delete(ctx, "kubernetes", metav1.DeleteOptions{})
		},
		"kube-root-ca.crt": func(ctx context.Context, c *fake.Clientset) error {
			return c.CoreV1().ConfigMaps("kube-system").Delete(ctx, "kube-root-ca.crt", metav1.DeleteOptions{})
		},
	} {
		client := tenantCluster(&asked)
		if err := spoil(t.Context(), client); err != nil {
			t.Fatal(err)
		}
		if err := (&Cluster{Client: client}).look(t.Context()); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%v, want %q", err, want)
		}
	}
	if _, err := Open(t.Context(), t.TempDir()+"/missing"); err == nil || !strings.Contains(err.Error(), "-tenant-kubeconfig") {
		t.Errorf("without a kubeconfig: %v", err)
	}
}

func TestTokensAreForWhomAndForHowLong(t *testing.T) {
	var asked []authenticationv1.TokenRequestSpec
	c := &Cluster{Client: tenantCluster(&asked), Audience: "own"}
	if _, err := c.Token(t.Context(), "ns", "app", "", time.Hour); err != nil {
		t.Fatal(err)
	}
	if _, err := c.Token(t.Context(), "ns", "app", "else", ShortestToken); err != nil {
		t.Fatal(err)
	}
	pod := &corev1.Pod{ObjectMeta: metav1.ObjectMeta{Namespace: "ns", Name: "p", UID: "u"}, Spec: corev1.PodSpec{ServiceAccountName: "app"}}
	if _, err := c.PodToken(t.Context(), pod, ShortestToken); err != nil {
		t.Fatal(err)
	}
	anchor := &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Namespace: "ns", Name: "s", UID: "v"}}
	if _, err := c.SecretToken(t.Context(), anchor, "app", ShortestToken); err != nil {
		t.Fatal(err)
	}
	if len(asked) != 4 || asked[0].Audiences[0] != "own" || *asked[0].ExpirationSeconds != 3600 || asked[1].Audiences[0] != "else" {
		t.Fatalf("asked for %+v", asked)
	}
	if of := asked[2].BoundObjectRef; of == nil || of.Kind != "Pod" || of.Name != "p" || of.UID != "u" {
		t.Errorf("the pod's token is bound to %+v", of)
	}
	if of := asked[3].BoundObjectRef; of == nil || of.Kind != "Secret" || of.Name != "s" || of.UID != "v" {
		t.Errorf("the reviewer's token is bound to %+v", of)
	}
}

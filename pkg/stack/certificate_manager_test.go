package stack

import (
	"slices"
	"testing"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"github.com/vaultproof/vaultproof/pkg/kube"
)

func TestCertManagerIsUsedWhereItIs(t *testing.T) {
	c := client("")
	if has, err := hasCertManager(c); has || err != nil {
		t.Errorf("a cluster without it has it: %v (%v)", has, err)
	}
	c.Resources = []*metav1.APIResourceList{{GroupVersion: certManagerGroup, APIResources: []metav1.APIResource{{Name: "certificates", Kind: "Certificate"}}}}
	if has, err := hasCertManager(c); !has || err != nil {
		t.Errorf("a cluster with it lacks it: %v (%v)", has, err)
	}
}

func TestCertManagerIsAskedForTheSameSecrets(t *testing.T) {
	opts := testOptions()
	opts.Namespace = "keys"
	objects, err := certManagerObjects(opts)
	if err != nil {
		t.Fatal(err)
	}
	for _, object := range objects {
		if !kube.Managed(object) || object.GetKind() != "Namespace" && object.GetNamespace() != "keys" {
			t.Errorf("%s is not ours, or not in the namespace", kube.String(object))
		}
	}
	server, root := objects.Find("Certificate", "vault-server"), objects.Find("Certificate", "vault-ca")
	if server == nil || root == nil || objects.Find("Namespace", "keys") == nil {
		t.Fatal("a certificate, or the namespace, is missing")
	}
	for object, want := range map[*unstructured.Unstructured]string{server: tlsSecret, root: authoritySecret} {
		if name, _, _ := unstructured.NestedString(object.Object, "spec", "secretName"); name != want {
			t.Errorf("%s is written into Secret %s, want %s", kube.String(object), name, want)
		}
	}
	dns, _, _ := unstructured.NestedStringSlice(server.Object, "spec", "dnsNames")
	ips, _, _ := unstructured.NestedStringSlice(server.Object, "spec", "ipAddresses")
	var all []string
	all = append(append(all, dns...), ips...)
	want := serverNames("keys")
	slices.Sort(all)
	slices.Sort(want)
	if !slices.Equal(all, want) || !slices.Equal(ips, []string{"127.0.0.1"}) {
		t.Errorf("the names are %v and %v", dns, ips)
	}
}

func TestTheSecretMustBeCertManagersOwn(t *testing.T) {
	first := deployed(t, leafLife, rootLife)
	secret := stored(tlsSecret, first.server)
	if served(secret, "vault") == nil {
		t.Error("what our own issuer left was taken for cert-manager's")
	}
	secret.Annotations = map[string]string{certManagerName: "vault-server"}
	if err := served(secret, "vault"); err != nil {
		t.Error(err)
	}
	if served(secret, "other") == nil {
		t.Error("a certificate for other names was accepted")
	}
}

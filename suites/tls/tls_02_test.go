package tls

import (
	"strings"
	"testing"
	"time"

	authorizationv1 "k8s.io/api/authorization/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/client-go/kubernetes/fake"
	ktesting "k8s.io/client-go/testing"

	"github.com/vaultproof/vaultproof/pkg/ingress"
	"github.com/vaultproof/vaultproof/pkg/target"
)

func keySecret(t *testing.T, namespace, name, host string) *corev1.Secret {
	_, pair := certified(t, time.Hour, host)
	return &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: name}, Data: map[string][]byte{"tls.crt": pair.Cert, "tls.key": pair.Key}}
}

func TestNamesNoSecret(t *testing.T) {
	d, _ := doorThrough(nil)
	says(t, "no TLS section", namesNoSecret(d), "")
	d.Secrets = []string{"web/edge"}
	says(t, "a TLS section", namesNoSecret(d), "names Secret web/edge")
}

func TestNoKeyAtTheIngress(t *testing.T) {
	controller := corev1.Pod{ObjectMeta: metav1.ObjectMeta{Namespace: "edge", Name: "traefik-0"}, Spec: corev1.PodSpec{
		ServiceAccountName: "traefik", Volumes: []corev1.Volume{{Name: "tls", VolumeSource: corev1.VolumeSource{Secret: &corev1.SecretVolumeSource{SecretName: "mounted"}}}},
	}}
	public := keySecret(t, "edge", "mounted", publicHost)
	public.Data["tls.key"] = nil
	for name, c := range map[string]struct {
		secrets []runtime.Object
		want    string
	}{
		"nothing":                       {nil, ""},
		"mounted":                       {[]runtime.Object{keySecret(t, "edge", "mounted", publicHost)}, "pod edge/traefik-0 mounts Secret edge/mounted"},
		"beside the Ingress":            {[]runtime.Object{keySecret(t, "web", "edge", "*.example.org")}, "there is Secret web/edge"},
		"for another host":              {[]runtime.Object{keySecret(t, "web", "edge", "shop.example.org")}, ""},
		"a certificate without its key": {[]runtime.Object{public}, ""},
		"in Vault's namespace":          {[]runtime.Object{keySecret(t, "vault", "vault-server-tls", publicHost)}, ""},
	} {
		d, _ := doorThrough(nil)
		d.Pods = []corev1.Pod{controller}
		near, err := secretsNear(t.Context(), &target.Target{Client: fake.NewClientset(c.secrets...), Namespace: "vault"}, d)
		if err != nil {
			t.Fatal(err)
		}
		says(t, name, noKeyFor(d, near), c.want)
	}
}

// A door that somebody told of is in no namespace: Vault's own Secret is not beside it.
func TestNothingIsBesideAToldDoor(t *testing.T) {
	vault := &target.Target{Client: fake.NewClientset(keySecret(t, "vault", "vault-server-tls", publicHost)), Namespace: "vault"}
	near, err := secretsNear(t.Context(), vault, ingress.Told(publicHost, "192.0.2.9"))
	if err != nil || len(near) > 0 {
		t.Errorf("beside it there are %d Secrets (%v)", len(near), err)
	}
}

func TestMayReadKeys(t *testing.T) {
	d, _ := doorThrough(nil)
	d.Pods = []corev1.Pod{{ObjectMeta: metav1.ObjectMeta{Namespace: "edge"}, Spec: corev1.PodSpec{ServiceAccountName: "traefik"}}}
	for _, allowed := range []bool{true, false} {
		client := fake.NewClientset()
		client.PrependReactor("create", "subjectaccessreviews", func(action ktesting.Action) (bool, runtime.Object, error) {
			review := action.(ktesting.CreateAction).GetObject().(*authorizationv1.SubjectAccessReview)
			if review.Spec.ResourceAttributes.Namespace != "vault" || review.Spec.ResourceAttributes.Resource != "secrets" {
				t.Errorf("asked for %+v", review.Spec.ResourceAttributes)
			}
			review.Status.Allowed = allowed
			return true, review, nil
		})
		who, err := mayReadKeys(t.Context(), &target.Target{Client: client, Namespace: "vault"}, d)
		if err != nil || allowed != strings.Contains(who, "edge:traefik") {
			t.Errorf("allowed %t: %q (%v)", allowed, who, err)
		}
	}
}

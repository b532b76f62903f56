package stack

import (
	"bytes"
	"errors"
	"strings"
	"testing"
	"time"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/client-go/kubernetes/fake"
	ktesting "k8s.io/client-go/testing"

	"github.com/vaultproof/vaultproof/pkg/issuer"
	"github.com/vaultproof/vaultproof/pkg/target"
)

func stored(name string, pair issuer.Keypair) *corev1.Secret {
	return tlsObject(metav1.ObjectMeta{Name: name, Namespace: "vault"}, pair)
}

// installed is a Vault with the stack's StatefulSet, one pod and the Secrets given.
func installed(t *testing.T, secrets ...runtime.Object) (*target.Target, *fake.Clientset) {
	t.Helper()
	set := typed(t, rendered(t), "StatefulSet", statefulSetName, &appsv1.StatefulSet{})
	pod := &corev1.Pod{ObjectMeta: metav1.ObjectMeta{Name: "vault-0", Namespace: "vault", Labels: set.Spec.Template.Labels}}
	c := client("", append(secrets, set, pod)...)
	return &target.Target{Client: c, Namespace: "vault", StatefulSet: statefulSetName, Container: "vault", Selector: labels.SelectorFromSet(set.Spec.Selector.MatchLabels)}, c
}

func TestRenewCertificate(t *testing.T) {
	first := deployed(t, leafLife, rootLife)
	vault, client := installed(t, stored(tlsSecret, first.server), stored(authoritySecret, first.authority))
	leaf, err := RenewCertificate(t.Context(), vault)
	if err != nil {
		t.Fatal(err)
	}
	secret, err := client.CoreV1().Secrets("vault").Get(t.Context(), tlsSecret, metav1.GetOptions{})
	if err != nil {
		t.Fatal(err)
	}
	next := keypairOf(secret)
	if now, err := issuer.Leaf(next.Cert); err != nil || !now.Equal(leaf) || bytes.Equal(next.Cert, first.server.Cert) || bytes.Equal(next.Key, first.server.Key) {
		t.Errorf("the Secret does not hold the new certificate and its key (%v)", err)
	}
	if !bytes.Equal(next.CA, first.server.CA) || !verifies(next, first.trust, time.Now().Add(leafLife-time.Hour)) {
		t.Error("who trusted the old certificate refuses the new one")
	}
}

func TestWhatCannotBeRenewedIsTold(t *testing.T) {
	first, stranger := deployed(t, leafLife, rootLife), deployed(t, leafLife, rootLife)
	for name, c := range map[string]struct {
		secrets []runtime.Object
		want    string
	}{
		"no root":          {[]runtime.Object{stored(tlsSecret, first.server)}, authoritySecret},
		"another root":     {[]runtime.Object{stored(tlsSecret, first.server), stored(authoritySecret, stranger.authority)}, "not one that clients trust"},
		"no certificate":   {nil, "no Secret that container vault mounts"},
		"an empty Secret":  {[]runtime.Object{stored(tlsSecret, issuer.Keypair{})}, "no Secret that container vault mounts"},
		"not a right root": {[]runtime.Object{stored(tlsSecret, first.server), stored(authoritySecret, first.server)}, "no authority"},
	} {
		vault, _ := installed(t, c.secrets...)
		if _, err := RenewCertificate(t.Context(), vault); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: got %v, want %q", name, err, c.want)
		}
	}
	vault, client := installed(t, stored(tlsSecret, first.server))
	client.PrependReactor("get", "secrets", func(ktesting.Action) (bool, runtime.Object, error) {
		return true, nil, apierrors.NewForbidden(schema.GroupResource{Resource: "secrets"}, tlsSecret, nil)
	})
	if _, err := RenewCertificate(t.Context(), vault); !errors.Is(err, ErrNoRenewal) {
		t.Errorf("without the right to read Secrets: %v", err)
	}
}

func TestHastenCertificate(t *testing.T) {
	vault, client := installed(t)
	marks := map[string]bool{}
	for range 2 {
		if err := HastenCertificate(t.Context(), vault); err != nil {
			t.Fatal(err)
		}
		pod, err := client.CoreV1().Pods("vault").Get(t.Context(), "vault-0", metav1.GetOptions{})
		if err != nil {
			t.Fatal(err)
		}
		marks[pod.Annotations[syncAnnotation]] = true
	}
	if len(marks) != 2 || marks[""] {
		t.Errorf("the annotations are %v, want another one each time", marks)
	}
}

func TestIssuing(t *testing.T) {
	certificate := &unstructured.Unstructured{Object: map[string]any{"status": map[string]any{"conditions": []any{
		map[string]any{"type": "Ready", "status": "True"}, map[string]any{"type": "Issuing", "status": "False"},
	}}}}
	if err := issuing(certificate); err != nil {
		t.Fatal(err)
	}
	conditions, _, _ := unstructured.NestedSlice(certificate.Object, "status", "conditions")
	if len(conditions) != 2 || conditions[0].(map[string]any)["status"] != "True" || conditions[1].(map[string]any)["type"] != "Ready" {
		t.Errorf("the conditions are %v", conditions)
	}
}

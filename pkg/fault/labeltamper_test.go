package fault

import (
	"context"
	"errors"
	"testing"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes/fake"
)

const active = "vault-active"

func labelledPods(values ...string) *fake.Clientset {
	client := fake.NewClientset()
	for i, value := range values {
		pod := &corev1.Pod{ObjectMeta: labelled("vault-"+string(rune('0'+i)), map[string]string{active: value})}
		_ = client.Tracker().Add(pod)
	}
	return client
}

func labelOf(t *testing.T, client *fake.Clientset, pod string) string {
	t.Helper()
	p, err := client.CoreV1().Pods("vault").Get(t.Context(), pod, metav1.GetOptions{})
	if err != nil {
		t.Fatal(err)
	}
	return p.Labels[active]
}

func TestLabelTamperIsSeenAndTakenBack(t *testing.T) {
	client := labelledPods("true", "false")
	env := &Env{Client: client, Namespace: "vault"}
	injected, err := (&LabelTamper{Env: env, Pod: "vault-1", Label: active}).Inject(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if w, err := injected.Witness(t.Context()); err != nil || w.Evidence == "" {
		t.Errorf("witness %q (%v)", w.Evidence, err)
	}
	if err := injected.Recover(t.Context()); err != nil || labelOf(t, client, "vault-1") != "false" || labelOf(t, client, "vault-0") != "true" {
		t.Errorf("after the recovery vault-0 has %q, vault-1 %q (%v)", labelOf(t, client, "vault-0"), labelOf(t, client, "vault-1"), err)
	}
}

func TestLabelTamperWithoutAChangeHasNoWitness(t *testing.T) {
	client := labelledPods("true", "false")
	seen, err := client.CoreV1().Pods("vault").Watch(t.Context(), metav1.ListOptions{})
	if err != nil {
		t.Fatal(err)
	}
	silent := &tampered{fault: &LabelTamper{Pod: "vault-1", Label: active}, seen: seen}
	ctx, cancel := context.WithTimeout(t.Context(), pollEvery)
	defer cancel()
	if _, err := silent.Witness(ctx); !errors.Is(err, ErrNoWitness) {
		t.Errorf("nothing was changed: %v, want ErrNoWitness", err)
	}
	if _, err := (&LabelTamper{Env: &Env{Client: client, Namespace: "vault"}, Pod: "vault-0", Label: active}).Inject(t.Context()); !errors.Is(err, ErrUnavailable) {
		t.Errorf("a pod that bears the label already: %v, want ErrUnavailable", err)
	}
}

// A pod that has become the owner of the label keeps it, however it came by it.
func TestUntamperLeavesTheOnlyOneAlone(t *testing.T) {
	ref := Ref{Kind: KindLabel, Namespace: "vault", Name: "vault-1/" + active}
	client := labelledPods("false", "true")
	if did, err := untamper(t.Context(), client, ref); did || err != nil || labelOf(t, client, "vault-1") != "true" {
		t.Errorf("the only active pod lost its label (%v, %v)", did, err)
	}
	client = labelledPods("true", "true")
	if did, err := untamper(t.Context(), client, ref); !did || err != nil || labelOf(t, client, "vault-1") != "false" {
		t.Errorf("one of two kept its label (%v, %v)", did, err)
	}
}

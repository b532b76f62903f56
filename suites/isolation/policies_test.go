package isolation

import (
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	networkingv1 "k8s.io/api/networking/v1"
	policyv1 "k8s.io/api/policy/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
)

var vaultLabels = labels.Set{"app.kubernetes.io/name": "vault", instanceLabel: "vault", "component": "server"}

func guards(name string, selector labels.Set) networkingv1.NetworkPolicy {
	return networkingv1.NetworkPolicy{
		ObjectMeta: metav1.ObjectMeta{Name: name, CreationTimestamp: metav1.NewTime(time.Date(2026, 3, 1, 2, 3, 4, 0, time.UTC))},
		Spec:       networkingv1.NetworkPolicySpec{PodSelector: metav1.LabelSelector{MatchLabels: selector}},
	}
}

func hardened() surroundings {
	return surroundings{
		own: labels.SelectorFromSet(vaultLabels),
		policies: []networkingv1.NetworkPolicy{
			guards("default-deny", nil),
			guards("vault-peers", labels.Set{"app.kubernetes.io/name": "vault", "component": "server"}),
			guards("others", labels.Set{"app": "web"}),
		},
		services: []corev1.Service{
			{ObjectMeta: metav1.ObjectMeta{Name: "vault-active"}, Spec: corev1.ServiceSpec{Selector: labels.Merge(vaultLabels, labels.Set{"vault-active": "true"})}},
			{ObjectMeta: metav1.ObjectMeta{Name: "without-selector"}},
		},
		budgets: []policyv1.PodDisruptionBudget{{
			ObjectMeta: metav1.ObjectMeta{Name: "vault"},
			Spec:       policyv1.PodDisruptionBudgetSpec{Selector: &metav1.LabelSelector{MatchLabels: vaultLabels}},
		}},
	}
}

func TestDescribePolicies(t *testing.T) {
	text, err := hardened().describe(vaultLabels)
	if want := "the NetworkPolicies over the Vault pods are default-deny (since 2026-03-01T02:03:04Z), vault-peers (since 2026-03-01T02:03:04Z)"; err != nil || text != want {
		t.Errorf("%q (%v), want %q", text, err, want)
	}
	bare := hardened()
	bare.policies = bare.policies[2:]
	if text, err := bare.describe(vaultLabels); err != nil || text != "none of the 1 NetworkPolicies of the namespace selects the Vault pods" {
		t.Errorf("%q (%v)", text, err)
	}
	broken := hardened()
	broken.policies[0].Spec.PodSelector.MatchExpressions = []metav1.LabelSelectorRequirement{{Key: "a", Operator: "Likes"}}
	_, err = broken.describe(vaultLabels)
	says(t, "a selector that cannot be read", err, "default-deny")
}

func TestStandIn(t *testing.T) {
	like, err := hardened().standIn(vaultLabels)
	if err != nil || like[instanceLabel] != "" || like["component"] != "server" || len(like) != 2 {
		t.Errorf("the stand-in has %v (%v), want all but the instance", like, err)
	}
	// The common chart: policies ask for the instance, Services for the component.
	chart := hardened()
	chart.policies[1] = guards("vault", labels.Set{"app.kubernetes.io/name": "vault", instanceLabel: "vault"})
	if like, err := chart.standIn(vaultLabels); err != nil || like["component"] != "" || like[instanceLabel] != "vault" {
		t.Errorf("the stand-in has %v (%v), want all but the component", like, err)
	}
	served := hardened()
	served.services[0].Spec.Selector = labels.Set{"vault-active": "true", "app.kubernetes.io/name": "vault"}
	served.policies[1] = guards("vault-peers", labels.Set{"app.kubernetes.io/name": "vault"})
	_, err = served.standIn(vaultLabels)
	says(t, "a Service that takes any", err, "without component it would still be taken by Service vault-active", "without app.kubernetes.io/name other NetworkPolicies apply")
	counted := hardened()
	counted.budgets[0].Spec.Selector.MatchLabels = labels.Set{"app.kubernetes.io/name": "vault", "component": "server"}
	_, err = counted.standIn(vaultLabels)
	says(t, "a budget that counts it", err, "PodDisruptionBudget vault")
	adopted := hardened()
	adopted.own = labels.SelectorFromSet(labels.Set{"app.kubernetes.io/name": "vault"})
	_, err = adopted.standIn(vaultLabels)
	says(t, "a StatefulSet that adopts it", err, "the StatefulSet")
	_, err = hardened().standIn(nil)
	says(t, "no labels", err, "bear no labels")
}

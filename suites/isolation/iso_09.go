package isolation

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/onsi/ginkgo/v2"
	corev1 "k8s.io/api/core/v1"
	policyv1 "k8s.io/api/policy/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/util/intstr"

	"github.com/vaultproof/vaultproof/pkg/conformance"
	"github.com/vaultproof/vaultproof/pkg/target"
)

// wholeAgain is how long the Vault may take to be whole before a standby is restarted,
// and after it was.
const wholeAgain = 90 * time.Second

var iso09 = conformance.Check{
	ID: "ISO-09", Area: area, Level: conformance.Must,
	Assertion: "one disruption budget covers the Vault pods, with maxUnavailable 1 and unhealthyPodEvictionPolicy AlwaysAllow, and a sealed pod may be evicted",
	Source:    "vault-helm PR#1210; Kubernetes documentation, unhealthy pod eviction policy",
	Observe: "the budget's spec; dry-run evictions of a healthy standby, of a restarted standby that is held sealed (which must be admitted), " +
		"and of another pod beside that one (which must be refused)",
	Timeout: 2*wholeAgain + conformance.DefaultTimeout,
}

var _ = conformance.It(iso09, conformance.Conformance, func(ctx ginkgo.SpecContext, r *conformance.Case) error {
	pods, err := r.Target.Pods(ctx)
	if err != nil {
		return r.CannotTell(err)
	}
	budgets, err := r.Target.Client.PolicyV1().PodDisruptionBudgets(r.Target.Namespace).List(ctx, metav1.ListOptions{})
	if err != nil {
		return r.CannotTell(fmt.Errorf("listing the PodDisruptionBudgets of namespace %s: %w", r.Target.Namespace, err))
	}
	budget, err := budgetOver(pods, budgets.Items)
	if err != nil {
		return err
	}
	if err := evictsUnhealthy(budget); err != nil {
		return err
	}
	if r.Target.SidecarContainer == "" {
		r.Note("nobody unseals these pods by itself, so none is restarted to see a sealed one evicted: the budget's spec alone is judged")
		return nil
	}
	if err := mayEvict(ctx, r); err != nil {
		return err
	}
	seen, err := tryEvictions(ctx, r, budget.Name)
	if err != nil {
		return r.CannotTell(err)
	}
	return evictable(seen)
})

// budgetOver finds the one budget of the Vault pods.
func budgetOver(pods []corev1.Pod, budgets []policyv1.PodDisruptionBudget) (policyv1.PodDisruptionBudget, error) {
	if len(pods) == 0 {
		return policyv1.PodDisruptionBudget{}, errors.New("there is no Vault pod")
	}
	var only *policyv1.PodDisruptionBudget
	for _, p := range pods {
		var over []string
		for i := range budgets {
			selector, err := metav1.LabelSelectorAsSelector(budgets[i].Spec.Selector)
			if err == nil && selector.Matches(labels.Set(p.Labels)) {
				over, only = append(over, budgets[i].Name), &budgets[i]
			}
		}
		switch len(over) {
		case 1:
		case 0:
			return policyv1.PodDisruptionBudget{}, fmt.Errorf("no PodDisruptionBudget selects Vault pod %s (of %d in the namespace), want one with maxUnavailable 1: a drain may take all pods at once", p.Name, len(budgets))
		default:
			return policyv1.PodDisruptionBudget{}, fmt.Errorf("Vault pod %s is under %d PodDisruptionBudgets (%s), want one: the API server then refuses every eviction", p.Name, len(over), strings.Join(over, ", "))
		}
	}
	return *only, nil
}

// evictsUnhealthy judges the spec of the budget.
func evictsUnhealthy(b policyv1.PodDisruptionBudget) error {
	var wrong []string
	switch want := intstr.FromInt32(1); {
	case b.Spec.MaxUnavailable == nil && b.Spec.MinAvailable != nil:
		wrong = append(wrong, fmt.Sprintf("minAvailable is %s, want maxUnavailable 1 instead, which holds for any number of pods", b.Spec.MinAvailable))
	case b.Spec.MaxUnavailable == nil:
		wrong = append(wrong, "maxUnavailable is not set, want 1")
	case *b.Spec.MaxUnavailable != want:
		wrong = append(wrong, fmt.Sprintf("maxUnavailable is %s, want 1", b.Spec.MaxUnavailable))
	}
	policy := "not set (IfHealthyBudget)"
	if b.Spec.UnhealthyPodEvictionPolicy != nil {
		policy = string(*b.Spec.UnhealthyPodEvictionPolicy)
	}
	if policy != string(policyv1.AlwaysAllow) {
		wrong = append(wrong, fmt.Sprintf("unhealthyPodEvictionPolicy is %s, want %s: a sealed pod could not be evicted, and its node never be drained", policy, policyv1.AlwaysAllow))
	}
	if len(wrong) == 0 {
		return nil
	}
	return fmt.Errorf("PodDisruptionBudget %s (since %s): %s", b.Name, b.CreationTimestamp.UTC().Format(time.RFC3339), strings.Join(wrong, "; "))
}

// mayEvict skips the check if this user may not restart and evict pods.
func mayEvict(ctx context.Context, r *conformance.Case) error {
	ns := r.Target.Namespace
	missing, err := r.Target.Missing(ctx, []target.Permission{
		{Verb: "delete", Resource: "pods", Namespace: ns}, {Verb: "patch", Resource: "pods", Namespace: ns},
		{Verb: "create", Resource: "pods", Subresource: "eviction", Namespace: ns},
	})
	if err != nil {
		return r.CannotTell(err)
	}
	if len(missing) > 0 {
		return r.Skip("whether a sealed pod may be evicted is tried on a restarted standby, and the user of the kubeconfig may not %s", missing[0])
	}
	return nil
}

// When an eviction was tried.
const (
	whole  = "while all Vault pods are healthy"
	sealed = "while it is sealed"
	beside = "while another one is sealed"
)

// eviction is what the API server said to one.
type eviction struct {
	pod, when string
	refusal   string // empty if it was admitted
}

// evictable judges them.
func evictable(all []eviction) error {
	var wrong []string
	tried := map[string]bool{}
	for _, e := range all {
		tried[e.when] = true
		switch {
		case e.refusal != "" && e.when != beside:
			wrong = append(wrong, fmt.Sprintf("eviction of pod %s %s is refused (%s), want it admitted: its node could not be drained", e.pod, e.when, e.refusal))
		case e.refusal == "" && e.when == beside:
			wrong = append(wrong, fmt.Sprintf("eviction of healthy pod %s %s is admitted, want it refused: two pods of three would be lost", e.pod, e.when))
		}
	}
	for _, when := range []string{whole, sealed, beside} {
		if !tried[when] {
			wrong = append(wrong, "no eviction was tried "+when)
		}
	}
	if len(wrong) == 0 {
		return nil
	}
	return errors.New(strings.Join(wrong, "; "))
}

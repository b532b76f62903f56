package isolation

import (
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	policyv1 "k8s.io/api/policy/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/intstr"
)

func budgetOf(name string, selector map[string]string, edit func(*policyv1.PodDisruptionBudgetSpec)) policyv1.PodDisruptionBudget {
	one, always := intstr.FromInt32(1), policyv1.AlwaysAllow
	b := policyv1.PodDisruptionBudget{
		ObjectMeta: metav1.ObjectMeta{Name: name, Namespace: "vault", CreationTimestamp: metav1.NewTime(time.Date(2026, 3, 1, 2, 3, 4, 0, time.UTC))},
		Spec:       policyv1.PodDisruptionBudgetSpec{MaxUnavailable: &one, UnhealthyPodEvictionPolicy: &always, Selector: &metav1.LabelSelector{MatchLabels: selector}},
	}
	if edit != nil {
		edit(&b.Spec)
	}
	return b
}

func TestBudgetOver(t *testing.T) {
	v0, v1 := pod("vault", "vault-0", "a", ""), pod("vault", "vault-1", "b", "")
	v0.Labels, v1.Labels = vaultLabels, vaultLabels
	pods := []corev1.Pod{v0, v1}
	right, web := budgetOf("vault", vaultLabels, nil), budgetOf("web", map[string]string{"app": "web"}, nil)
	if b, err := budgetOver(pods, []policyv1.PodDisruptionBudget{web, right}); err != nil || b.Name != "vault" {
		t.Errorf("budget %s (%v)", b.Name, err)
	}
	for name, c := range map[string]struct {
		pods    []corev1.Pod
		budgets []policyv1.PodDisruptionBudget
		want    string
	}{
		"none":        {pods, nil, "no PodDisruptionBudget selects Vault pod vault-0 (of 0"},
		"of others":   {pods, []policyv1.PodDisruptionBudget{web}, "(of 1 in the namespace)"},
		"two":         {pods, []policyv1.PodDisruptionBudget{right, budgetOf("all", nil, nil)}, "under 2 PodDisruptionBudgets (vault, all)"},
		"of one pod":  {append([]corev1.Pod{pod("vault", "vault-9", "c", "")}, pods...), []policyv1.PodDisruptionBudget{right}, "vault-9"},
		"no selector": {pods, []policyv1.PodDisruptionBudget{budgetOf("vault", nil, func(s *policyv1.PodDisruptionBudgetSpec) { s.Selector = nil })}, "no PodDisruptionBudget selects"},
		"no pod":      {nil, []policyv1.PodDisruptionBudget{right}, "no Vault pod"},
	} {
		_, err := budgetOver(c.pods, c.budgets)
		says(t, name, err, c.want)
	}
}

func TestEvictsUnhealthy(t *testing.T) {
	two, percent, healthy := intstr.FromInt32(2), intstr.FromString("34%"), policyv1.IfHealthyBudget
	says(t, "right", evictsUnhealthy(budgetOf("vault", nil, nil)))
	for name, c := range map[string]struct {
		edit func(*policyv1.PodDisruptionBudgetSpec)
		want string
	}{
		"two at once":     {func(s *policyv1.PodDisruptionBudgetSpec) { s.MaxUnavailable = &two }, "maxUnavailable is 2, want 1"},
		"by percent":      {func(s *policyv1.PodDisruptionBudgetSpec) { s.MaxUnavailable = &percent }, "maxUnavailable is 34%"},
		"minAvailable":    {func(s *policyv1.PodDisruptionBudgetSpec) { s.MaxUnavailable, s.MinAvailable = nil, &two }, "minAvailable is 2, want maxUnavailable 1"},
		"neither":         {func(s *policyv1.PodDisruptionBudgetSpec) { s.MaxUnavailable = nil }, "maxUnavailable is not set"},
		"if healthy":      {func(s *policyv1.PodDisruptionBudgetSpec) { s.UnhealthyPodEvictionPolicy = &healthy }, "unhealthyPodEvictionPolicy is IfHealthyBudget, want AlwaysAllow"},
		"the default":     {func(s *policyv1.PodDisruptionBudgetSpec) { s.UnhealthyPodEvictionPolicy = nil }, "not set (IfHealthyBudget)"},
		"named and dated": {func(s *policyv1.PodDisruptionBudgetSpec) { s.MaxUnavailable = nil }, "PodDisruptionBudget vault (since 2026-03-01T02:03:04Z)"},
	} {
		says(t, name, evictsUnhealthy(budgetOf("vault", nil, c.edit)), c.want)
	}
}

func TestEvictable(t *testing.T) {
	const spent = "Cannot evict pod as it would violate the pod's disruption budget."
	right := []eviction{{"vault-1", whole, ""}, {"vault-1", sealed, ""}, {"vault-2", beside, spent}}
	says(t, "right", evictable(right))
	for name, c := range map[string]struct {
		at     int
		refuse string
		want   string
	}{
		"a drain hangs":        {0, spent, "eviction of pod vault-1 while all Vault pods are healthy is refused (" + spent},
		"a sealed pod stays":   {1, spent, "eviction of pod vault-1 while it is sealed is refused"},
		"two may go":           {2, "", "eviction of healthy pod vault-2 while another one is sealed is admitted"},
		"the reason is passed": {1, spent, "would violate"},
	} {
		broken := append([]eviction{}, right...)
		broken[c.at].refusal = c.refuse
		says(t, name, evictable(broken), c.want)
	}
	says(t, "not tried", evictable(right[:1]), "no eviction was tried while it is sealed", "while another one is sealed")
}

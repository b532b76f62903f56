package isolation

import (
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/vaultproof/vaultproof/pkg/target"
)

func TestDistinctNodes(t *testing.T) {
	for name, c := range map[string]struct {
		pods []corev1.Pod
		want string
	}{
		"right":   {[]corev1.Pod{pod("v", "vault-0", "a", ""), pod("v", "vault-1", "b", "")}, ""},
		"shared":  {[]corev1.Pod{pod("v", "vault-0", "a", ""), pod("v", "vault-1", "a", "")}, "vault-0 and vault-1 are both on node a"},
		"pending": {[]corev1.Pod{pod("v", "vault-0", "", "")}, "vault-0 is on no node"},
		"none":    {nil, "no Vault pod"},
	} {
		err := distinctNodes(c.pods)
		if (c.want == "") != (err == nil) || err != nil && !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %v, want %q", name, err, c.want)
		}
	}
}

func TestRefused(t *testing.T) {
	if err := refused(decision{message: "0/5 nodes are available: 3 node(s) didn't match pod anti-affinity rules."}); err != nil {
		t.Error(err)
	}
	for name, d := range map[string]decision{
		"scheduled":            {node: "a"},
		"for another reason":   {message: "0/5 nodes are available: 3 Insufficient cpu."},
		"for no reason at all": {},
	} {
		if err := refused(d); err == nil {
			t.Errorf("%s: passes", name)
		}
	}
}

func TestDecisionOn(t *testing.T) {
	p := pod("v", "twin", "", "")
	if d := decisionOn(&p); d != (decision{}) {
		t.Errorf("a pod that nobody looked at yet counts as decided: %+v", d)
	}
	p.Status.Conditions = []corev1.PodCondition{{Type: corev1.PodScheduled, Status: corev1.ConditionFalse, Reason: corev1.PodReasonUnschedulable, Message: "why"}}
	if d := decisionOn(&p); d.message != "why" {
		t.Errorf("decision %+v", d)
	}
}

func TestTwinLooksLikeAReplica(t *testing.T) {
	anti := &corev1.PodAntiAffinity{RequiredDuringSchedulingIgnoredDuringExecution: []corev1.PodAffinityTerm{{TopologyKey: corev1.LabelHostname}}}
	template := corev1.PodTemplateSpec{
		ObjectMeta: metav1.ObjectMeta{Labels: map[string]string{"app.kubernetes.io/name": "vault"}},
		Spec:       corev1.PodSpec{NodeSelector: map[string]string{"dedicated": "vault"}, Affinity: &corev1.Affinity{PodAntiAffinity: anti}},
	}
	twin := twinOf(template, []corev1.Pod{pod("v", "vault-0", "a", ""), pod("v", "vault-1", "b", "")}, "run-1")
	required := twin.Spec.Affinity.NodeAffinity.RequiredDuringSchedulingIgnoredDuringExecution
	switch {
	case twin.Labels["app.kubernetes.io/name"] != "vault" || twin.Labels[target.RunLabel] != "run-1":
		t.Errorf("labels %v: the scheduler or the clean-up would miss it", twin.Labels)
	case len(twin.Spec.Affinity.PodAntiAffinity.RequiredDuringSchedulingIgnoredDuringExecution) != 1:
		t.Error("the twin lost the anti-affinity")
	case len(required.NodeSelectorTerms) != 2:
		t.Errorf("the twin may go to %v, want the two nodes with Vault pods", required)
	case len(twin.Spec.ReadinessGates) == 0:
		t.Error("the twin could become Ready")
	}
	template.Spec.Affinity = nil
	if twinOf(template, nil, "r").Spec.Affinity.PodAntiAffinity != nil {
		t.Error("the twin has an anti-affinity that the template lacks")
	}
}

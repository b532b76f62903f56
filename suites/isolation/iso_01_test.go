package isolation

import (
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

func node(name string, labels map[string]string, taints ...corev1.Taint) corev1.Node {
	return corev1.Node{ObjectMeta: metav1.ObjectMeta{Name: name, Labels: labels}, Spec: corev1.NodeSpec{Taints: taints}}
}

func pod(namespace, name, node string, owner string) corev1.Pod {
	p := corev1.Pod{ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: name}, Spec: corev1.PodSpec{NodeName: node}}
	if owner != "" {
		p.OwnerReferences = []metav1.OwnerReference{{Kind: owner}}
	}
	return p
}

func TestPoolNodes(t *testing.T) {
	dedicated := map[string]string{"dedicated": "vault"}
	keepOff := corev1.Taint{Key: "dedicated", Value: "vault", Effect: corev1.TaintEffectNoSchedule}
	selector := corev1.PodSpec{NodeSelector: dedicated}
	pool, err := poolNodes([]corev1.Node{node("a", dedicated, keepOff), node("b", nil)}, selector)
	if err != nil || len(pool) != 1 || !pool["a"] {
		t.Errorf("pool %v (%v), want a", pool, err)
	}
	affinity := corev1.PodSpec{Affinity: &corev1.Affinity{NodeAffinity: &corev1.NodeAffinity{
		RequiredDuringSchedulingIgnoredDuringExecution: &corev1.NodeSelector{NodeSelectorTerms: []corev1.NodeSelectorTerm{{
			MatchExpressions: []corev1.NodeSelectorRequirement{{Key: "dedicated", Operator: corev1.NodeSelectorOpIn, Values: []string{"vault"}}},
		}}},
	}}}
	if pool, err := poolNodes([]corev1.Node{node("a", dedicated, keepOff)}, affinity); err != nil || !pool["a"] {
		t.Errorf("by affinity: pool %v (%v)", pool, err)
	}
	soft := corev1.Taint{Key: "dedicated", Effect: corev1.TaintEffectPreferNoSchedule}
	sick := corev1.Taint{Key: "node.kubernetes.io/unreachable", Effect: corev1.TaintEffectNoSchedule}
	for name, c := range map[string]struct {
		nodes []corev1.Node
		spec  corev1.PodSpec
		want  string
	}{
		"no taint":        {[]corev1.Node{node("a", dedicated)}, selector, "node a of the pool has no NoSchedule taint (it has no taint)"},
		"a soft taint":    {[]corev1.Node{node("a", dedicated, soft)}, selector, "no NoSchedule taint"},
		"a sick node":     {[]corev1.Node{node("a", dedicated, sick)}, selector, "no NoSchedule taint"},
		"no label wanted": {[]corev1.Node{node("a", dedicated, keepOff)}, corev1.PodSpec{}, "demand no node label"},
		"no such node":    {[]corev1.Node{node("a", nil, keepOff)}, selector, "dedicated=vault"},
	} {
		if _, err := poolNodes(c.nodes, c.spec); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %v, want %q", name, err, c.want)
		}
	}
}

func TestOnlyOnPool(t *testing.T) {
	pool := map[string]bool{"a": true}
	if err := onlyOnPool([]corev1.Pod{pod("vault", "vault-0", "a", "")}, pool); err != nil {
		t.Error(err)
	}
	for _, elsewhere := range []string{"b", ""} {
		if err := onlyOnPool([]corev1.Pod{pod("vault", "vault-0", elsewhere, "")}, pool); err == nil {
			t.Errorf("a Vault pod on node %q passes", elsewhere)
		}
	}
	if err := onlyOnPool(nil, pool); err == nil {
		t.Error("no pod at all passes")
	}
}

func TestNoForeigners(t *testing.T) {
	pool := map[string]bool{"a": true}
	vault := []corev1.Pod{pod("vault", "vault-0", "a", "StatefulSet")}
	fine := []corev1.Pod{vault[0], pod("kube-system", "proxy", "a", "DaemonSet"), pod("kube-system", "etcd", "a", "Node"), pod("web", "web", "b", "")}
	if err := noForeigners(vault, fine, pool); err != nil {
		t.Error(err)
	}
	err := noForeigners(vault, append(fine, pod("web", "miner", "a", "ReplicaSet")), pool)
	if err == nil || !strings.Contains(err.Error(), "web/miner on a") {
		t.Errorf("a foreign pod: %v", err)
	}
	done := pod("web", "job", "a", "Job")
	done.Status.Phase = corev1.PodSucceeded
	if err := noForeigners(vault, []corev1.Pod{done}, pool); err != nil {
		t.Errorf("a pod that has ended: %v", err)
	}
}

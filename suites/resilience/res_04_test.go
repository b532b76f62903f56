package resilience

import (
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"github.com/vaultproof/vaultproof/pkg/conformance"
	"github.com/vaultproof/vaultproof/pkg/target"
	"github.com/vaultproof/vaultproof/suites/trial"
)

func TestCameBack(t *testing.T) {
	pod := func(uid types.UID, node string) corev1.Pod {
		return corev1.Pod{ObjectMeta: metav1.ObjectMeta{Name: "vault-0", UID: uid}, Spec: corev1.PodSpec{NodeName: node}}
	}
	for name, c := range map[string]struct {
		after corev1.Pod
		want  string
	}{
		"the same":     {pod("a", "n1"), ""},
		"elsewhere":    {pod("b", "n2"), "was replaced on node n2 while its node n1 was off"},
		"force-delete": {pod("b", "n1"), "came back as another one"},
	} {
		err := cameBack(pod("a", "n1"), c.after)
		if (c.want == "") != (err == nil) || err != nil && !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %v, want %q", name, err, c.want)
		}
	}
}

func TestPowerOffIsSkippedIfNobodyCan(t *testing.T) {
	r := &conformance.Case{Target: &target.Target{ClusterName: "gke"}}
	if f, err := trial.PowerOff(t.Context(), r, target.PodState{}); f != nil || err == nil || !strings.Contains(err.Error(), "-kind-cluster") {
		t.Errorf("fault %v, error %v", f, err)
	}
}

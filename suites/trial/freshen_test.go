package trial

import (
	"testing"

	corev1 "k8s.io/api/core/v1"
)

func TestHeldBack(t *testing.T) {
	pod := func(vault, sidecar int32) corev1.Pod {
		return corev1.Pod{Status: corev1.PodStatus{ContainerStatuses: []corev1.ContainerStatus{
			{Name: "bootstrap", RestartCount: sidecar}, {Name: "vault", RestartCount: vault},
		}}}
	}
	for name, c := range map[string]struct {
		pod  corev1.Pod
		want bool
	}{
		"never restarted":       {pod(0, 0), false},
		"restarted once":        {pod(1, 0), true},
		"another one restarted": {pod(0, 3), false},
		"nothing known":         {corev1.Pod{}, false},
	} {
		if got := heldBack(c.pod, "vault"); got != c.want {
			t.Errorf("%s: %v, want %v", name, got, c.want)
		}
	}
}

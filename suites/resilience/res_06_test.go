package resilience

import (
	"errors"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/vaultproof/vaultproof/pkg/target"
)

func TestQuorumKept(t *testing.T) {
	at := time.Date(2026, 5, 1, 12, 0, 0, 0, time.UTC)
	pod := func(name string, edit func(*target.PodState)) target.PodState {
		s := target.PodState{Pod: corev1.Pod{ObjectMeta: metav1.ObjectMeta{Name: name}}, Initialized: true}
		edit(&s)
		return s
	}
	well := func(*target.PodState) {}
	active := func(s *target.PodState) { s.IsSelf = true }
	look := func(states ...target.PodState) zoneLook { return zoneLook{at, states} }
	fine := look(pod("vault-0", active), pod("vault-1", active), pod("vault-2", well)) // vault-0 does not know yet
	for name, c := range map[string]struct {
		looks []zoneLook
		want  string
	}{
		"kept":        {[]zoneLook{fine, fine}, ""},
		"not looked":  {nil, "is not shown"},
		"one sealed":  {[]zoneLook{fine, look(pod("vault-1", active), pod("vault-2", func(s *target.PodState) { s.Sealed = true }))}, "pod vault-2 said initialized=true, sealed=true"},
		"one silent":  {[]zoneLook{look(pod("vault-1", active), pod("vault-2", func(s *target.PodState) { s.Err = errors.New("EOF") }))}, "at 12:00:00.000 pod vault-2 did not answer"},
		"none active": {[]zoneLook{look(pod("vault-0", active), pod("vault-1", well), pod("vault-2", well))}, "is_self on 0 of the pods vault-1, vault-2"},
		"two active":  {[]zoneLook{look(pod("vault-1", active), pod("vault-2", active))}, "is_self on 2 of the pods"},
	} {
		err := quorumKept("a", []string{"vault-1", "vault-2"}, c.looks)
		if (c.want == "") != (err == nil) || err != nil && !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %v, want %q", name, err, c.want)
		}
	}
}

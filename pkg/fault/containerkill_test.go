package fault

import (
	"errors"
	"slices"
	"testing"
	"time"

	"github.com/chaos-mesh/chaos-mesh/api/v1alpha1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes/fake"
	ctrlfake "sigs.k8s.io/controller-runtime/pkg/client/fake"
)

// runningSince is the status of a container that runs.
func runningSince(name, id string, started time.Time) corev1.ContainerStatus {
	return corev1.ContainerStatus{Name: name, ContainerID: id, State: corev1.ContainerState{
		Running: &corev1.ContainerStateRunning{StartedAt: metav1.NewTime(started)},
	}}
}

func TestRenewed(t *testing.T) {
	injected := time.Date(2026, 5, 1, 12, 0, 0, 500e6, time.UTC)
	before := runningSince("bootstrap", "containerd://old", injected.Add(-time.Hour))
	waiting := corev1.ContainerStatus{Name: "bootstrap", ContainerID: "containerd://old", State: corev1.ContainerState{
		Waiting: &corev1.ContainerStateWaiting{Reason: backOff},
	}}
	for name, c := range map[string]struct {
		now  corev1.ContainerStatus
		want bool
	}{
		"another one":           {runningSince("bootstrap", "containerd://new", injected.Truncate(time.Second)), true},
		"the same":              {before, false},
		"another, but older":    {runningSince("bootstrap", "containerd://new", injected.Add(-time.Minute)), false},
		"dead, not yet renewed": {waiting, false},
		"no such container":     {corev1.ContainerStatus{}, false},
	} {
		if evidence, got := renewed(before, c.now, injected); got != c.want {
			t.Errorf("%s: witness %v, want %v (%s)", name, got, c.want, evidence)
		}
	}
}

func TestContainerKillTakesTheContainerThatIsNamed(t *testing.T) {
	pod := &corev1.Pod{ObjectMeta: labelled("vault-0", nil), Spec: corev1.PodSpec{NodeName: "n"}}
	pod.Status.ContainerStatuses = []corev1.ContainerStatus{
		runningSince("vault", "containerd://v", time.Now()), runningSince("bootstrap", "containerd://b", time.Now()),
	}
	chaos := ctrlfake.NewClientBuilder().WithScheme(chaosScheme(t)).Build()
	env := &Env{Client: fake.NewClientset(pod, daemonAt("n")), Chaos: chaos, Namespace: "vault", Container: "vault", RunID: "r"}
	if _, err := (&ContainerKill{Env: env, Pod: "vault-0", Container: "other"}).Inject(t.Context()); !errors.Is(err, ErrUnavailable) {
		t.Errorf("a container that is not there: %v, want ErrUnavailable", err)
	}
	if _, err := (&ContainerKill{Env: env, Pod: "vault-0", Container: "bootstrap"}).Inject(t.Context()); err != nil {
		t.Fatal(err)
	}
	var list v1alpha1.PodChaosList
	if err := chaos.List(t.Context(), &list); err != nil || len(list.Items) != 1 || !slices.Equal(list.Items[0].Spec.ContainerNames, []string{"bootstrap"}) {
		t.Errorf("%d objects (%v), want one that kills container bootstrap", len(list.Items), err)
	}
}

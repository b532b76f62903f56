package fault

import (
	"context"
	"errors"
	"slices"
	"strings"
	"testing"
	"time"

	coordinationv1 "k8s.io/api/coordination/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes/fake"
	ctrlfake "sigs.k8s.io/controller-runtime/pkg/client/fake"
)

// plug is a NodePower in memory.
type plug struct{ off map[string]bool }

func (p *plug) Off(_ context.Context, node string) error           { p.off[node] = true; return nil }
func (p *plug) On(_ context.Context, node string) error            { delete(p.off, node); return nil }
func (p *plug) State(_ context.Context, node string) (bool, error) { return !p.off[node], nil }

func TestALeaseThatStandsStill(t *testing.T) {
	start := time.Date(2026, 5, 1, 12, 0, 0, 0, time.UTC)
	w := leaseWatch{patience: 13 * time.Second}
	renewed := start.Add(-time.Hour) // the node's clock is another one
	for _, step := range []struct {
		after   time.Duration
		renewed time.Time
		missed  bool
	}{
		{0, renewed, false},
		{12 * time.Second, renewed, false},
		{12500 * time.Millisecond, renewed.Add(10 * time.Second), false}, // alive after all
		{14 * time.Second, renewed.Add(10 * time.Second), false},
		{26 * time.Second, renewed.Add(10 * time.Second), true},
	} {
		if got := w.missed(step.renewed, start.Add(step.after)); got != step.missed {
			t.Errorf("after %s: missed %v, want %v", step.after, got, step.missed)
		}
	}
}

func TestPowerOffHasNoWitnessWhileTheLeaseIsRenewed(t *testing.T) {
	life := int32(1)
	now := metav1.NowMicro()
	lease := &coordinationv1.Lease{
		ObjectMeta: metav1.ObjectMeta{Namespace: leaseNamespace, Name: "n"},
		Spec:       coordinationv1.LeaseSpec{LeaseDurationSeconds: &life, RenewTime: &now},
	}
	power := &plug{off: map[string]bool{}}
	env := &Env{Client: fake.NewClientset(lease), Namespace: "vault"}
	injected, err := (&PowerOff{Env: env, Power: power, Node: "n"}).Inject(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 2*pollEvery)
	defer cancel()
	if _, err := injected.Witness(ctx); !errors.Is(err, ErrNoWitness) || !strings.Contains(err.Error(), "was renewed at") {
		t.Errorf("right after the plug was pulled: %v, want ErrNoWitness", err)
	}
	delete(power.off, "n")
	ctx, cancel = context.WithTimeout(t.Context(), 2*pollEvery)
	defer cancel()
	if _, err := injected.Witness(ctx); !errors.Is(err, ErrNoWitness) || !strings.Contains(err.Error(), "runs") {
		t.Errorf("a machine that runs: %v, want ErrNoWitness", err)
	}
}

func TestPowerOffIsRefusedBeforeItStarts(t *testing.T) {
	env := &Env{Client: fake.NewClientset(), Namespace: "vault"}
	for name, f := range map[string]*PowerOff{
		"nobody to do it": {Env: env, Node: "n"},
		"off already":     {Env: env, Node: "n", Power: &plug{off: map[string]bool{"n": true}}},
		"no lease":        {Env: env, Node: "n", Power: &plug{off: map[string]bool{}}},
	} {
		if _, err := f.Inject(t.Context()); !errors.Is(err, ErrUnavailable) {
			t.Errorf("%s: %v, want ErrUnavailable", name, err)
		}
	}
}

func TestRestarted(t *testing.T) {
	off := time.Date(2026, 5, 1, 12, 0, 0, 500e6, time.UTC)
	pod := func(namespace, name string, started time.Time) corev1.Pod {
		p := corev1.Pod{ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: name}}
		p.Status.ContainerStatuses = []corev1.ContainerStatus{{Name: "c", State: corev1.ContainerState{Running: &corev1.ContainerStateRunning{StartedAt: metav1.NewTime(started)}}}}
		return p
	}
	old, fresh := off.Add(-time.Hour), off.Add(10*time.Second)
	stopped := corev1.Pod{ObjectMeta: metav1.ObjectMeta{Namespace: "kube-system", Name: "stopped"}}
	stopped.Status.ContainerStatuses = []corev1.ContainerStatus{{Name: "c"}}
	done := pod("kube-system", "job", old)
	done.Status.Phase = corev1.PodSucceeded
	for name, c := range map[string]struct {
		pods []corev1.Pod
		want string
	}{
		"all":               {[]corev1.Pod{pod("kube-system", "proxy", fresh), done, pod("vault", "vault-0", old)}, ""},
		"as before the off": {[]corev1.Pod{pod("kube-system", "proxy", old)}, "kube-system/proxy"},
		"not running":       {[]corev1.Pod{stopped}, "kube-system/stopped"},
	} {
		err := restarted(c.pods, "vault", off)
		if (c.want == "") != (err == nil) || err != nil && !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %v, want %q", name, err, c.want)
		}
	}
}

func TestANodeThatADeadRunTurnedOffIsTurnedOn(t *testing.T) {
	dir := leftBy(t, Ref{Kind: KindNode, Name: "n"})
	chaos := ctrlfake.NewClientBuilder().WithScheme(chaosScheme(t)).Build()
	if _, err := (&recovery{client: fake.NewClientset(), chaos: chaos}).all(t.Context(), dir); err == nil || !strings.Contains(err.Error(), "Node n") {
		t.Errorf("with nobody to turn it on: %v, want an error that names the node", err)
	}
	power := &plug{off: map[string]bool{"n": true}}
	done, err := (&recovery{client: fake.NewClientset(), chaos: chaos, means: Means{Power: power}}).all(t.Context(), dir)
	if err != nil || power.off["n"] || !slices.Equal(done.Removed, []string{"Node n"}) {
		t.Errorf("off %v, undone %v (%v)", power.off, done.Removed, err)
	}
}

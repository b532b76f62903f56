package schedule

import (
	"context"
	"errors"
	"slices"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes/fake"

	"github.com/vaultproof/vaultproof/pkg/fault"
)

// noted is a fault that notes what becomes of it.
type noted struct {
	name    string
	log     *[]string
	inject  error
	witness error
}

func (n *noted) Kind() string   { return n.name }
func (n *noted) Target() string { return "vault-0" }

func (n *noted) Inject(context.Context) (fault.Injected, error) {
	*n.log = append(*n.log, n.name)
	return n, n.inject
}

func (n *noted) Witness(context.Context) (fault.Witness, error) {
	return fault.Witness{Evidence: n.name + " hit", At: time.Now()}, n.witness
}

func (n *noted) Recover(context.Context) error {
	*n.log = append(*n.log, "undo "+n.name)
	return nil
}

func (n *noted) Patience() time.Duration { return time.Minute }

func TestOverlap(t *testing.T) {
	late := errors.New("too late")
	for name, c := range map[string]struct {
		first, second, moment, witness error
		want                           []string
		err                            string
	}{
		"both":                     {want: []string{"kill", "moment", "cut", "undo cut", "undo kill"}},
		"the first cannot be":      {first: fault.ErrUnavailable, want: []string{"kill"}, err: "cannot be injected here"},
		"the moment does not come": {moment: late, want: []string{"kill", "moment", "undo kill"}, err: "moment of cut of vault-0: too late"},
		"the second cannot be":     {second: fault.ErrUnavailable, want: []string{"kill", "moment", "cut", "undo kill"}, err: "could not follow"},
		"the second does not hit":  {witness: fault.ErrNoWitness, want: []string{"kill", "moment", "cut"}, err: "cut of vault-0: no witness"},
	} {
		var log []string
		o := &Overlap{
			Name: "cut-in-kill", First: &noted{name: "kill", log: &log, inject: c.first}, Second: &noted{name: "cut", log: &log, inject: c.second, witness: c.witness},
			Moment: func(context.Context, fault.Injected) error { log = append(log, "moment"); return c.moment },
		}
		err := func() error {
			injected, err := o.Inject(t.Context())
			if err != nil {
				return err
			}
			w, err := injected.Witness(t.Context())
			if err != nil {
				return err
			}
			if p := injected.(fault.Patient).Patience(); w.Evidence != "kill hit; then cut hit" || p != 2*time.Minute {
				t.Errorf("%s: evidence %q, patience %s", name, w.Evidence, p)
			}
			return injected.Recover(t.Context())
		}()
		if (c.err == "") != (err == nil) || err != nil && !strings.Contains(err.Error(), c.err) {
			t.Errorf("%s: %v, want %q", name, err, c.err)
		}
		if !slices.Equal(log, c.want) {
			t.Errorf("%s: it went %q, want %q", name, log, c.want)
		}
		if c.second != nil && errors.Is(err, fault.ErrUnavailable) {
			t.Errorf("%s: it says that nothing was touched", name)
		}
	}
}

func TestUnsealing(t *testing.T) {
	running := []corev1.ContainerStatus{{Name: "vault", State: corev1.ContainerState{Running: &corev1.ContainerStateRunning{}}}}
	ready := []corev1.PodCondition{{Type: corev1.PodReady, Status: corev1.ConditionTrue}}
	for name, c := range map[string]struct {
		uid    string
		status corev1.PodStatus
		want   bool
	}{
		"unsealing":       {"new", corev1.PodStatus{ContainerStatuses: running}, true},
		"the old one":     {"old", corev1.PodStatus{ContainerStatuses: running}, false},
		"unsealed":        {"new", corev1.PodStatus{ContainerStatuses: running, Conditions: ready}, false},
		"not yet running": {"new", corev1.PodStatus{}, false},
	} {
		pod := &corev1.Pod{ObjectMeta: metav1.ObjectMeta{Name: "vault-0", Namespace: "vault"}, Status: c.status}
		pod.UID = "new"
		if c.uid == "old" {
			pod.UID = "old"
		}
		ctx, cancel := context.WithTimeout(t.Context(), 3*momentEvery)
		err := Unsealing(&fault.Env{Client: fake.NewClientset(pod), Namespace: "vault", Container: "vault"}, "vault-0", "old")(ctx, nil)
		cancel()
		if (err == nil) != c.want {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestHitIsTheWitnessOfTheFirst(t *testing.T) {
	if err := Hit(t.Context(), &noted{}); err != nil {
		t.Error(err)
	}
	if err := Hit(t.Context(), &noted{witness: fault.ErrNoWitness}); !errors.Is(err, fault.ErrNoWitness) {
		t.Errorf("without a witness: %v, want no moment", err)
	}
}

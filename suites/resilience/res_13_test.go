package resilience

import (
	"errors"
	"math/rand/v2"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes/fake"

	"github.com/vaultproof/vaultproof/pkg/conformance"
	"github.com/vaultproof/vaultproof/pkg/fault"
	"github.com/vaultproof/vaultproof/pkg/fault/schedule"
	"github.com/vaultproof/vaultproof/pkg/target"
)

func aMoment() moment {
	client := fake.NewClientset(&corev1.Node{ObjectMeta: metav1.ObjectMeta{Name: "node-b"}})
	m := moment{life: time.Minute, r: &conformance.Case{
		Target: &target.Target{Client: client, Container: "vault", SidecarContainer: "bootstrap", ClusterName: "gke"},
		Faults: &fault.Env{Client: client, Namespace: "vault", Container: "vault"},
	}}
	for name, zone := range map[string]string{"vault-0": "a", "vault-1": "b", "vault-2": "c"} {
		m.states = append(m.states, target.PodState{Zone: zone, Pod: corev1.Pod{ObjectMeta: metav1.ObjectMeta{Name: name}, Spec: corev1.PodSpec{NodeName: "node-" + zone}}})
	}
	for _, s := range m.states {
		if s.Pod.Name == "vault-0" {
			m.active = s
		}
	}
	return m
}

// Every kind that a walk can plan must be one that can be made, and be called what the
// report calls it.
func TestEveryChanceCanBeTaken(t *testing.T) {
	for _, c := range chances {
		m := aMoment()
		m.r.Power = powers{}
		f, err := take(t.Context(), schedule.Step{Kind: c.kind, Target: "vault-1"}, m)
		if err != nil {
			t.Errorf("%s: %v", c.kind, err)
			continue
		}
		if f.Kind() != c.kind {
			t.Errorf("%s calls itself %s", c.kind, f.Kind())
		}
		if !strings.Contains(f.Target(), "vault-1") && f.Target() != "node-b" && f.Target() != "b" {
			t.Errorf("%s hits %s, want vault-1, which was drawn", c.kind, f.Target())
		}
	}
}

// powers is a NodePower that is never used.
type powers struct{ fault.NodePower }

func TestPartitionInFailoverTakesASurvivor(t *testing.T) {
	f, err := take(t.Context(), schedule.Step{Kind: "partition-in-failover", Target: "vault-0"}, aMoment())
	if err != nil {
		t.Fatal(err)
	}
	first, second, _ := strings.Cut(f.Target(), ", then ")
	if !strings.HasPrefix(first, "vault-0 ") || strings.Contains(second, "vault-0") {
		t.Errorf("it hits %s, want the active killed and another one cut off", f.Target())
	}
}

func TestAWalkGoesOnWithoutWhatCannotBe(t *testing.T) {
	if _, err := take(t.Context(), schedule.Step{Kind: "node-power-off", Target: "vault-1"}, aMoment()); !errors.Is(err, fault.ErrUnavailable) || !strings.Contains(err.Error(), "-kind-cluster") {
		t.Errorf("nobody can turn nodes off: %v, want ErrUnavailable", err)
	}
	for name, s := range map[string]schedule.Step{
		"a pod that is gone": {Kind: "pod-delete", Target: "vault-9"}, "a kind of nobody": {Kind: "flood", Target: "vault-1"},
	} {
		if _, err := take(t.Context(), s, aMoment()); err == nil || errors.Is(err, fault.ErrUnavailable) {
			t.Errorf("%s: %v, want the walk to end", name, err)
		}
	}
}

func TestTheWalkOfTheRunCanBePlanned(t *testing.T) {
	for _, length := range []time.Duration{time.Minute, 10 * time.Minute, 8 * time.Hour} {
		w := schedule.Walk{Kinds: kindsOf(chances), Targets: []string{"vault-0"}, Faults: int(length / walkPace), Length: length}
		steps, err := w.Plan(rand.New(rand.NewPCG(1, 2)))
		if err != nil || len(steps) != int(length/time.Minute) {
			t.Errorf("a walk of %s has %d steps (%v), want one a minute", length, len(steps), err)
		}
	}
}

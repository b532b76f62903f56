package resilience

import (
	"errors"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/vaultproof/vaultproof/pkg/conformance"
	"github.com/vaultproof/vaultproof/pkg/probe"
	"github.com/vaultproof/vaultproof/pkg/report"
	"github.com/vaultproof/vaultproof/pkg/target"
	"github.com/vaultproof/vaultproof/pkg/timeline"
	"github.com/vaultproof/vaultproof/suites/trial"
)

var drained = time.Date(2026, 5, 1, 12, 0, 0, 0, time.UTC)

func sealEvent(pod, value string, after time.Duration) timeline.Event {
	return timeline.Event{Kind: timeline.Seal, Subject: pod, Value: value, At: drained.Add(after)}
}

func TestWithoutQuorum(t *testing.T) {
	calm := []timeline.Event{
		sealEvent("vault-0", "unsealed", -time.Minute), sealEvent("vault-1", "unsealed", -time.Minute), sealEvent("vault-2", "unsealed", -time.Minute),
		sealEvent("vault-0", "unreachable", time.Second), sealEvent("vault-0", "sealed", 9*time.Second), sealEvent("vault-0", "unsealed", 10*time.Second),
	}
	with := func(more ...timeline.Event) []timeline.Event {
		all := append(calm[:len(calm):len(calm)], more...)
		timeline.Sort(all)
		return all
	}
	for name, c := range map[string]struct {
		events []timeline.Event
		want   time.Duration
	}{
		"one at a time":          {calm, 0},
		"two at a time":          {with(sealEvent("vault-1", "unreachable", 5*time.Second)), 5 * time.Second},
		"a missed answer":        {with(sealEvent("vault-1", "unreachable", 5*time.Second), sealEvent("vault-1", "unsealed", 5500*time.Millisecond)), 500 * time.Millisecond},
		"lost to the end":        {with(sealEvent("vault-1", "sealed", 20*time.Second), sealEvent("vault-2", "sealed", 22*time.Second)), 8 * time.Second},
		"lost from before":       {calm[:1], 30 * time.Second},
		"what comes after it":    {with(sealEvent("vault-1", "sealed", time.Minute), sealEvent("vault-2", "sealed", time.Minute)), 0},
		"sealed is not unsealed": {with(sealEvent("vault-2", "sealed", 8*time.Second)), 2 * time.Second},
	} {
		got, told := withoutQuorum(c.events, 3, drained, drained.Add(30*time.Second))
		if got != c.want || !told {
			t.Errorf("%s: %s without quorum (told %v), want %s", name, got, told, c.want)
		}
	}
	if _, told := withoutQuorum(nil, 3, drained, drained.Add(time.Minute)); told {
		t.Error("without any event the quorum counts as seen")
	}
}

func TestKeptQuorum(t *testing.T) {
	res := trial.Result{ID: "RES-03#2", Kind: "node-drain", Target: "n1"}
	if err := keptQuorum(missedAnswer, 3, res); err != nil {
		t.Error(err)
	}
	err := keptQuorum(missedAnswer+time.Second, 3, res)
	if err == nil || !strings.Contains(err.Error(), "for 4s during RES-03#2 (node-drain of n1) fewer than 2 of 3 pods") {
		t.Errorf("a lost quorum: %v", err)
	}
}

func TestAnEvictionMustWaitForTheFirstPod(t *testing.T) {
	state := func(ready, sealed bool) []target.PodState {
		s := target.PodState{Pod: corev1.Pod{ObjectMeta: metav1.ObjectMeta{Name: "vault-0"}}, Initialized: true, Sealed: sealed}
		if ready {
			s.Pod.Status.Conditions = []corev1.PodCondition{{Type: corev1.PodReady, Status: corev1.ConditionTrue}}
		}
		return []target.PodState{s}
	}
	if err := admittedInTime("vault-1", "vault-0", state(true, false)); err != nil {
		t.Errorf("back elsewhere: %v", err)
	}
	for name, states := range map[string][]target.PodState{
		"gone": nil, "not Ready": state(false, false), "sealed": state(true, true),
	} {
		err := admittedInTime("vault-1", "vault-0", states)
		if err == nil || !strings.Contains(err.Error(), "would evict pod vault-1 while pod vault-0") {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestDrainsOfTheActiveAreHeldApart(t *testing.T) {
	took := func(active bool, length time.Duration) trial.Result {
		res := trial.Result{ID: "RES-03#1", Outage: probe.Window{Start: drained, End: drained.Add(length)}}
		if active {
			res.Phases.Elected = report.MS(800)
		}
		return res
	}
	var results []trial.Result
	for range 40 { // enough for one of the active to be beyond the 95th percentile of all
		results = append(results, took(false, 0))
	}
	r := &conformance.Case{Budget: 2 * time.Second}
	if err := withinBudgetByRole(r, append(results[:40:40], took(true, time.Second))); err != nil {
		t.Error(err)
	}
	if err := withinBudgetByRole(r, append(results[:40:40], took(true, 9*time.Second))); err == nil || !strings.Contains(err.Error(), "for 9s") {
		t.Errorf("one drain of the active took 9 s: %v", err)
	}
	if err := withinBudgetByRole(r, []trial.Result{took(true, 0), took(false, 3*time.Second)}); err == nil {
		t.Error("the drain of a standby took 3 s and passes")
	}
}

func TestThePodToDrainMustBeThere(t *testing.T) {
	r := &conformance.Case{}
	states := []target.PodState{{Pod: corev1.Pod{ObjectMeta: metav1.ObjectMeta{Name: "vault-0"}, Spec: corev1.PodSpec{NodeName: "n7"}}}}
	if f, err := drainOf(r, "vault-0", states); err != nil || f.Target() != "n7" {
		t.Errorf("fault %v (%v), want a drain of n7", f, err)
	}
	if _, err := drainOf(r, "vault-9", states); err == nil || errors.Is(err, target.ErrNoActive) {
		t.Errorf("a pod that is gone: %v", err)
	}
}

package resilience

import (
	"errors"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/vaultproof/vaultproof/pkg/conformance"
	"github.com/vaultproof/vaultproof/pkg/history"
	"github.com/vaultproof/vaultproof/pkg/target"
	"github.com/vaultproof/vaultproof/pkg/timeline"
	"github.com/vaultproof/vaultproof/suites/trial"
)

func TestRefusedWrites(t *testing.T) {
	elected := time.Date(2026, 5, 1, 12, 0, 0, 0, time.UTC)
	refusal := errors.New("local node not active but active cluster node not found")
	for name, c := range map[string]struct {
		attempts []attempt
		want     string
	}{
		"refused":         {[]attempt{{elected.Add(time.Second), refusal}}, ""},
		"before it":       {[]attempt{{elected.Add(-time.Second), nil}, {elected.Add(time.Second), refusal}}, ""},
		"acknowledged":    {[]attempt{{elected.Add(time.Second), refusal}, {elected.Add(1500 * time.Millisecond), nil}}, "vault-0, cut off in the minority, acknowledged a write at 12:00:01.500, 1.5s after"},
		"nothing tried":   {nil, "not shown"},
		"tried before it": {[]attempt{{elected.Add(-time.Second), refusal}}, "not shown"},
	} {
		err := refusedWrites("vault-0", elected, c.attempts)
		if (c.want == "") != (err == nil) || err != nil && !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %v, want %q", name, err, c.want)
		}
	}
}

func TestNoneAcknowledged(t *testing.T) {
	elected := time.Date(2026, 5, 1, 12, 0, 0, 0, time.UTC)
	op := func(pod string, after time.Duration, outcome history.Outcome) history.Op {
		return history.Op{Kind: history.Write, Pod: pod, Call: elected.Add(after).UnixNano(), Outcome: outcome}
	}
	fine := []history.Op{
		op("vault-0", -time.Millisecond, history.OK), op("vault-1", time.Second, history.OK),
		op("vault-0", time.Second, history.Fail), op("vault-0", time.Second, history.Unknown), op("vault-0", time.Minute, history.OK),
	}
	end := elected.Add(30 * time.Second)
	if err := noneAcknowledged("vault-0", elected, end, fine); err != nil {
		t.Error(err)
	}
	err := noneAcknowledged("vault-0", elected, end, append(fine, op("vault-0", 1200*time.Millisecond, history.OK)))
	if err == nil || !strings.Contains(err.Error(), "acknowledged a write at 12:00:01.200, 1.2s after") {
		t.Errorf("a split brain: %v", err)
	}
}

func TestReelected(t *testing.T) {
	elected := time.Date(2026, 5, 1, 12, 0, 0, 0, time.UTC)
	leader := func(pod, value string, after time.Duration) timeline.Event {
		return timeline.Event{Kind: timeline.Leader, Subject: pod, Value: value, At: elected.Add(after)}
	}
	res := trial.Result{Active: "vault-0", End: elected.Add(time.Minute), Events: []timeline.Event{
		leader("vault-0", "active", -time.Minute), leader("vault-1", "active", 0), leader("vault-0", "standby", 10*time.Second),
	}}
	if got := reelected(res, elected); !got.Equal(res.End) {
		t.Errorf("a pod that stays standby counts as active again at %v", got)
	}
	res.Events = append(res.Events, leader("vault-0", "active", 20*time.Second))
	if got := reelected(res, elected); !got.Equal(elected.Add(20 * time.Second)) {
		t.Errorf("active again at %v, want 20 s after the election", got)
	}
}

func TestPartitionNeedsAMajorityOutside(t *testing.T) {
	state := func(name, zone string) target.PodState {
		return target.PodState{Zone: zone, Pod: corev1.Pod{ObjectMeta: metav1.ObjectMeta{Name: name}}}
	}
	r := &conformance.Case{}
	three := []target.PodState{state("vault-0", "a"), state("vault-1", "b"), state("vault-2", "c")}
	if f, err := trial.Partition(r, three, three[0], partitionLife); err != nil || f.Target() != "a (vault-0)" {
		t.Errorf("fault %v (%v)", f, err)
	}
	same := []target.PodState{state("vault-0", "a"), state("vault-1", "a"), state("vault-2", "c")}
	if _, err := trial.Partition(r, same, same[0], partitionLife); err == nil {
		t.Error("a zone with the majority of pods is cut off")
	}
	nowhere := []target.PodState{state("vault-0", "")}
	if _, err := trial.Partition(r, nowhere, nowhere[0], partitionLife); err == nil {
		t.Error("a pod without zone is cut off")
	}
}

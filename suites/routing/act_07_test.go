package routing

import (
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/vaultproof/vaultproof/pkg/conformance"
	"github.com/vaultproof/vaultproof/pkg/history"
	"github.com/vaultproof/vaultproof/pkg/target"
	"github.com/vaultproof/vaultproof/pkg/timeline"
)

func severedAt(t *testing.T, events ...timeline.Event) cutOff {
	t.Helper()
	taken := []timeline.Event{leader("vault-0", "standby", 2.6), label("vault-1", "true", 3), leader("vault-1", "active", 3.2)}
	cut, err := severed(crash(append(taken, events...)...))
	if err != nil {
		t.Fatal(err)
	}
	return cut
}

func TestSevered(t *testing.T) {
	cut := severedAt(t)
	if cut.pod != "vault-1" || !cut.labelled.Equal(sec(3.2)) || !cut.until.Equal(sec(30)) {
		t.Errorf("successor %s from %v until %v, want vault-1 from 3.2 s to 30 s", cut.pod, cut.labelled, cut.until)
	}
	_, err := severed(crash(leader("vault-1", "active", 3.2)))
	if err == nil || !strings.Contains(err.Error(), "was not labelled") {
		t.Errorf("a successor without label: %v", err)
	}
}

func TestEndpointsOfACutOffPod(t *testing.T) {
	for name, c := range map[string]struct {
		events []timeline.Event
		want   string
	}{
		"let go in time":    {[]timeline.Event{endpoints("vault-0,vault-1", 3.3), endpoints("vault-1", 4)}, ""},
		"let go before":     {[]timeline.Event{endpoints("", 2), endpoints("vault-1", 3.3)}, ""},
		"back when healed":  {[]timeline.Event{endpoints("vault-1", 3.3), endpoints("vault-0,vault-1", 31)}, ""},
		"kept":              {[]timeline.Event{endpoints("vault-0,vault-1", 3.3)}, "list vault-0, cut off, as ready until 12:00:30.000, 26.8s after its successor vault-1 was labelled"},
		"back while it was": {[]timeline.Event{endpoints("vault-1", 3.3), endpoints("vault-0,vault-1", 20), endpoints("vault-1", 21)}, "until 12:00:21.000"},
	} {
		err := severedAt(t, c.events...).endpoints("vault-active", time.Second)
		if (c.want == "") != (err == nil) || err != nil && !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %v, want %q", name, err, c.want)
		}
	}
	if err := severedAt(t, endpoints("vault-1", 3.3)).endpoints("vault-active", 0); err == nil {
		t.Error("without a budget everything passes")
	}
}

func TestAnswersOfACutOffPod(t *testing.T) {
	for name, c := range map[string]struct {
		op   history.Op
		want string
	}{
		"before the successor": {answer("vault-0", 1, 1.1, history.OK), ""},
		"an old connection":    {answer("vault-0", 5, 5.1, history.Unknown), ""},
		"the successor":        {answer("vault-1", 9, 9.1, history.OK), ""},
		"when healed":          {answer("vault-0", 31, 31.1, history.OK), ""},
		"a stale success":      {answer("vault-0", 3.5, 3.6, history.OK), "answered a read with success at 12:00:03.500, 300ms after"},
		"routed there still":   {answer("vault-0", 9, 9.1, history.Fail), "still reached pod vault-0, cut off, 5.8s after"},
	} {
		err := severedAt(t).answers([]history.Op{c.op}, time.Second)
		if (c.want == "") != (err == nil) || err != nil && !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %v, want %q", name, err, c.want)
		}
	}
}

func TestIsolationNeedsAMajorityOutside(t *testing.T) {
	state := func(name, zone string) target.PodState {
		return target.PodState{Zone: zone, Pod: corev1.Pod{ObjectMeta: metav1.ObjectMeta{Name: name}}}
	}
	r := &conformance.Case{}
	same := []target.PodState{state("vault-0", "a"), state("vault-1", "a"), state("vault-2", "c")}
	if _, err := isolation(t.Context(), r, same, same[0]); err == nil || !strings.Contains(err.Error(), "no majority") {
		t.Errorf("a zone with the majority of pods: %v", err)
	}
	if _, err := isolation(t.Context(), r, same, state("vault-0", "")); err == nil || !strings.Contains(err.Error(), "no zone") {
		t.Errorf("a pod without zone: %v", err)
	}
}

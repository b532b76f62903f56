package labpod

import (
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"

	"github.com/vaultproof/vaultproof/fixtures/lab"
	"github.com/vaultproof/vaultproof/pkg/conformance"
	"github.com/vaultproof/vaultproof/pkg/target"
)

func TestLabResult(t *testing.T) {
	long := `{"x":"` + strings.Repeat("y", 1<<20) + `"}`
	for name, c := range map[string]struct{ log, want, fails string }{
		"after progress":     {"1. a cell\ncrash  healthy\n" + lab.Marker + long + "\n", long, ""},
		"with what follows":  {lab.Marker + "{}\nlab: 1 of 2 crashes lost the cluster\n", "{}", ""},
		"cut short":          {"1. a cell\n" + lab.Marker + `{"x":`, "", "without a result"},
		"died":               {"1. a cell\nlab: no loopback addresses are free\n", "", `ends with "lab: no loopback addresses are free"`},
		"nothing was logged": {"", "", "without a result"},
	} {
		got, err := resultIn(strings.NewReader(c.log))
		if strings.TrimSpace(string(got)) != c.want || (err == nil) != (c.fails == "") || err != nil && !strings.Contains(err.Error(), c.fails) {
			t.Errorf("%s: %.40q, %v; want %.40q, %q", name, got, err, c.want, c.fails)
		}
	}
}

func TestLabPodStages(t *testing.T) {
	pod := func(phase corev1.PodPhase, waiting, reason string) *corev1.Pod {
		p := &corev1.Pod{Status: corev1.PodStatus{Phase: phase, Reason: reason}}
		if waiting != "" {
			p.Status.ContainerStatuses = []corev1.ContainerStatus{{Image: image, State: corev1.ContainerState{Waiting: &corev1.ContainerStateWaiting{Reason: waiting}}}}
		}
		return p
	}
	for name, c := range map[string]struct {
		until stage
		pod   *corev1.Pod
		there bool
		fails string
	}{
		"not scheduled":  {started, pod("", "", ""), false, ""},
		"being created":  {started, pod(corev1.PodPending, "ContainerCreating", ""), false, ""},
		"no image":       {started, pod(corev1.PodPending, "ErrImagePull", ""), false, "load the image into the cluster"},
		"running":        {started, pod(corev1.PodRunning, "", ""), true, ""},
		"ended at once":  {started, pod(corev1.PodFailed, "", ""), true, ""},
		"still at it":    {ended, pod(corev1.PodRunning, "", ""), false, ""},
		"found all good": {ended, pod(corev1.PodSucceeded, "", ""), true, ""},
		"found it bad":   {ended, pod(corev1.PodFailed, "", ""), true, ""},
		"took too long":  {ended, pod(corev1.PodFailed, "", "DeadlineExceeded"), false, "DeadlineExceeded"},
	} {
		there, err := c.until(c.pod)
		if there != c.there || (err == nil) != (c.fails == "") || err != nil && !strings.Contains(err.Error(), c.fails) {
			t.Errorf("%s: %t, %v", name, there, err)
		}
	}
}

// TestLabPodIsRestricted: Pod Security "restricted" admits it, it cannot reach the API
// server, and a run that died leaves it to be swept up.
func TestLabPodIsRestricted(t *testing.T) {
	r := &conformance.Case{ID: "run-1", Check: conformance.Check{Timeout: time.Minute}}
	p := manifest(r, "matrix", "hashicorp/vault:1.21.1", nil)
	c := p.Spec.Containers[0]
	switch {
	case !*p.Spec.SecurityContext.RunAsNonRoot, p.Spec.SecurityContext.SeccompProfile.Type != corev1.SeccompProfileTypeRuntimeDefault:
		t.Error("the pod's security context is not restricted")
	case *c.SecurityContext.AllowPrivilegeEscalation, len(c.SecurityContext.Capabilities.Drop) != 1, c.SecurityContext.Capabilities.Drop[0] != "ALL":
		t.Error("the container's security context is not restricted")
	case *p.Spec.AutomountServiceAccountToken:
		t.Error("it gets a token of the API server")
	case p.Labels[target.RunLabel] != "run-1", p.Labels[target.ManagedBy] != target.ManagedByValue:
		t.Errorf("its labels %v do not tell whose it is", p.Labels)
	case p.Labels[target.NameLabel] == target.NameValue:
		t.Error("it passes for a Vault pod")
	case c.Args[len(c.Args)-1] != "matrix", *p.Spec.ActiveDeadlineSeconds <= 0:
		t.Errorf("it runs %v without end", c.Args)
	}
}

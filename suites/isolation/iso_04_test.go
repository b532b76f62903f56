package isolation

import (
	"errors"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/client-go/kubernetes/fake"
	kubetesting "k8s.io/client-go/testing"

	"github.com/vaultproof/vaultproof/pkg/target"
)

func TestEnforces(t *testing.T) {
	ns := corev1.Namespace{ObjectMeta: metav1.ObjectMeta{
		Name: "vault", CreationTimestamp: metav1.NewTime(time.Date(2026, 3, 1, 2, 3, 4, 0, time.UTC)), Labels: map[string]string{enforceLabel: restricted},
	}}
	says(t, "restricted", enforces(ns))
	for _, level := range []string{"baseline", "privileged", ""} {
		ns.Labels[enforceLabel] = level
		says(t, level, enforces(ns), "namespace vault", level+", want restricted", "2026-03-01T02:03:04Z")
	}
	ns.Labels = map[string]string{"pod-security.kubernetes.io/warn": restricted}
	says(t, "only warns", enforces(ns), "not set")
}

func TestIntruders(t *testing.T) {
	list := intruders(&party{check: "iso-04", run: "r1"})
	if len(list) != 6 || !list[0].admit || mayTrace(list[0].pod.Spec.Containers[0].SecurityContext) != "" {
		t.Fatalf("applicants %+v", list)
	}
	broken := 0
	for _, a := range list[1:] {
		s, c := a.pod.Spec, a.pod.Spec.Containers[0].SecurityContext
		if a.admit {
			t.Errorf("%s should be refused", a.what)
		}
		for _, violation := range []bool{
			c.Privileged != nil && *c.Privileged, s.HostNetwork, len(s.Volumes) == 1 && s.Volumes[0].HostPath != nil, s.SecurityContext.RunAsNonRoot == nil, c.Capabilities == nil,
		} {
			if violation {
				broken++
			}
		}
	}
	if broken != 5 {
		t.Errorf("%d violations in 5 pods, want one each", broken)
	}
}

func TestResidents(t *testing.T) {
	template := corev1.PodTemplateSpec{Spec: corev1.PodSpec{Containers: []corev1.Container{{Name: "vault", VolumeMounts: []corev1.VolumeMount{{Name: "data"}, {Name: "tls"}, {Name: "data"}}}}, Volumes: []corev1.Volume{{Name: "tls"}}}}
	live := pod("vault", "vault-0", "n1", "")
	live.Spec.HostNetwork, live.Spec.Hostname = true, "vault-0"
	list := residents(template, []corev1.Pod{live}, "r1")
	if len(list) != 2 || len(list[0].pod.Spec.Volumes) != 2 || list[0].pod.Spec.Volumes[1].Name != "data" {
		t.Fatalf("residents %+v, want the template with its claimed volume", list)
	}
	if p := list[1].pod; !p.Spec.HostNetwork || p.Spec.NodeName != "" || p.Spec.Hostname != "" || p.Labels[target.RunLabel] != "r1" || list[0].pod.Name == p.Name {
		t.Errorf("resident %+v, want the pod as it is, but not bound to its node", p)
	}
	if len(template.Spec.Volumes) != 1 {
		t.Error("the template itself was changed")
	}
}

func TestApplyIsADryRun(t *testing.T) {
	client := fake.NewClientset()
	var answer error
	client.PrependReactor("create", "pods", func(action kubetesting.Action) (bool, runtime.Object, error) {
		options := action.(kubetesting.CreateActionImpl).CreateOptions
		if len(options.DryRun) != 1 || options.DryRun[0] != metav1.DryRunAll {
			t.Errorf("a pod was really created: %+v", options)
		}
		return true, &corev1.Pod{}, answer
	})
	vault := &target.Target{Namespace: "vault", Client: client}
	a := applicant{what: "a pod", pod: &corev1.Pod{ObjectMeta: metav1.ObjectMeta{Name: "p"}}}
	if r, err := apply(t.Context(), vault, a); err != nil || r.refusal != "" {
		t.Errorf("admitted: %+v (%v)", r, err)
	}
	answer = apierrors.NewForbidden(schema.GroupResource{Resource: "pods"}, "p", errors.New(`violates PodSecurity "restricted:latest"`))
	r, err := apply(t.Context(), vault, a)
	if err != nil {
		t.Error(err)
	}
	says(t, "refused", errors.New(r.refusal), "PodSecurity")
	answer = apierrors.NewInternalError(errors.New("no etcd"))
	_, err = apply(t.Context(), vault, a)
	says(t, "a broken cluster", err, "admission of a pod in namespace vault", "no etcd")
}

func TestAdmission(t *testing.T) {
	good := applicant{what: "Vault pod vault-0 as it is", admit: true}
	bad := applicant{what: "a privileged pod"}
	const violates = `pods "x" is forbidden: violates PodSecurity "restricted:latest": privileged`
	says(t, "right", admission("vault", []ruling{{good, ""}, {bad, violates}}))
	says(t, "Vault is refused", admission("vault", []ruling{{good, violates}, {bad, violates}}), "vault-0 as it is is refused", "privileged")
	says(t, "all is admitted", admission("vault", []ruling{{good, ""}, {bad, ""}}), "in namespace vault a privileged pod is admitted")
	says(t, "a quota", admission("vault", []ruling{{good, ""}, {bad, "exceeded quota: pods"}}), "not by Pod Security", "exceeded quota")
	if n := countRefused([]ruling{{good, ""}, {bad, violates}}); n != 1 {
		t.Errorf("%d refused", n)
	}
}

package isolation

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/onsi/ginkgo/v2"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/vaultproof/vaultproof/pkg/conformance"
	"github.com/vaultproof/vaultproof/pkg/target"
)

const (
	enforceLabel = "pod-security.kubernetes.io/enforce"
	restricted   = "restricted"
)

var iso04 = conformance.Check{
	ID: "ISO-04", Area: area, Level: conformance.Must, Manner: conformance.Reads,
	Assertion: "the namespace enforces Pod Security restricted, and the Vault pods admit",
	Source:    "Kubernetes Pod Security Standards; hashicorp/vault#31977: 2.0.1 needs IPC_LOCK, 2.0.2 does not",
	Observe: "labels of the namespace; dry-run creation on the server of pods that are not restricted, which must be refused, " +
		"and of one that is, of the pod template and of every Vault pod, which must be admitted",
}

var _ = conformance.It(iso04, conformance.Conformance, func(ctx ginkgo.SpecContext, r *conformance.Case) error {
	ns, err := r.Target.Client.CoreV1().Namespaces().Get(ctx, r.Target.Namespace, metav1.GetOptions{})
	if err != nil {
		return r.CannotTell(fmt.Errorf("reading namespace %s: %w", r.Target.Namespace, err))
	}
	if err := enforces(*ns); err != nil {
		return err
	}
	missing, err := r.Target.Missing(ctx, []target.Permission{{Verb: "create", Resource: "pods", Namespace: r.Target.Namespace}})
	if err != nil {
		return r.CannotTell(err)
	}
	if len(missing) > 0 {
		return r.Skip("what admission says is asked by dry runs, and the user of the kubeconfig may not %s", missing[0])
	}
	pods, err := r.Target.Pods(ctx)
	if err != nil {
		return r.CannotTell(err)
	}
	template, err := r.Target.Template(ctx)
	if err != nil {
		return r.CannotTell(err)
	}
	applicants := slices.Concat(intruders(newParty(r)), residents(template, pods, r.ID))
	var rulings []ruling
	for _, a := range applicants {
		said, err := apply(ctx, r.Target, a)
		if err != nil {
			return r.CannotTell(err)
		}
		rulings = append(rulings, said)
	}
	r.Measure("pods_refused_total", float64(countRefused(rulings)))
	return admission(r.Target.Namespace, rulings)
})

// enforces judges the labels of the namespace.
func enforces(ns corev1.Namespace) error {
	level, set := ns.Labels[enforceLabel]
	if !set {
		level = "not set"
	}
	if level == restricted {
		return nil
	}
	return fmt.Errorf("namespace %s has label %s %s, want %s (since it was made at %s any such pod may have started)",
		ns.Name, enforceLabel, level, restricted, ns.CreationTimestamp.UTC().Format(time.RFC3339))
}

// applicant is a pod whose admission is tried, and what it should be told.
type applicant struct {
	what  string
	pod   *corev1.Pod
	admit bool
}

// intruders are pods that must be refused, each for one thing, and the same pod without
// any of them, which must be admitted: else it would not be for that thing.
func intruders(p *party) []applicant {
	whole := func() *corev1.Pod { return p.manifest(guest{role: "applicant"}, "sleep") }
	yes := true
	list := []applicant{{what: "a restricted pod", pod: whole(), admit: true}}
	for _, c := range []struct {
		what   string
		change func(*corev1.PodSpec)
	}{
		{"a privileged pod", func(s *corev1.PodSpec) {
			s.Containers[0].SecurityContext.AllowPrivilegeEscalation = nil
			s.Containers[0].SecurityContext.Privileged = &yes
		}},
		{"a pod in the host's network", func(s *corev1.PodSpec) { s.HostNetwork = true }},
		{"a pod with a directory of the host", func(s *corev1.PodSpec) {
			s.Volumes = []corev1.Volume{{Name: "host", VolumeSource: corev1.VolumeSource{HostPath: &corev1.HostPathVolumeSource{Path: "/"}}}}
		}},
		// The last two are within "baseline": only "restricted" refuses them.
		{"a pod that may run as root", func(s *corev1.PodSpec) { s.SecurityContext.RunAsNonRoot, s.SecurityContext.RunAsUser = nil, nil }},
		{"a pod with capabilities", func(s *corev1.PodSpec) { s.Containers[0].SecurityContext.Capabilities = nil }},
	} {
		pod := whole()
		c.change(&pod.Spec)
		list = append(list, applicant{what: c.what, pod: pod})
	}
	return list
}

// residents are the Vault pods as the template and as the cluster has them: those that
// run may have been admitted before the label was set.
func residents(template corev1.PodTemplateSpec, pods []corev1.Pod, run string) []applicant {
	spec := template.Spec.DeepCopy()
	for _, name := range target.Unclaimed(*spec) {
		spec.Volumes = append(spec.Volumes, corev1.Volume{Name: name, VolumeSource: corev1.VolumeSource{EmptyDir: &corev1.EmptyDirVolumeSource{}}})
	}
	list := []applicant{{what: "a pod of the StatefulSet's template", admit: true, pod: &corev1.Pod{Spec: *spec}}}
	for _, p := range pods {
		list = append(list, applicant{what: "Vault pod " + p.Name + " as it is", admit: true, pod: &corev1.Pod{Spec: *p.Spec.DeepCopy()}})
	}
	for i := range list {
		pod := list[i].pod
		pod.Name = fmt.Sprintf("vaultproof-iso-04-resident-%d-%s", i, run)
		pod.Labels = map[string]string{target.ManagedBy: target.ManagedByValue, target.RunLabel: run}
		// Where it runs is decided already, and none of admission's business.
		pod.Spec.NodeName, pod.Spec.EphemeralContainers, pod.Spec.Hostname, pod.Spec.Subdomain = "", nil, "", ""
	}
	return list
}

// ruling is what the API server said to an applicant.
type ruling struct {
	applicant
	refusal string // empty if it was admitted
}

// apply asks the API server to create a pod without creating it.
func apply(ctx context.Context, t *target.Target, a applicant) (ruling, error) {
	_, err := t.Client.CoreV1().Pods(t.Namespace).Create(ctx, a.pod, metav1.CreateOptions{DryRun: []string{metav1.DryRunAll}})
	switch {
	case err == nil:
		return ruling{a, ""}, nil
	case apierrors.IsForbidden(err), apierrors.IsInvalid(err), apierrors.IsBadRequest(err):
		return ruling{a, err.Error()}, nil
	default:
		return ruling{}, fmt.Errorf("asking for the admission of %s in namespace %s: %w", a.what, t.Namespace, err)
	}
}

func countRefused(rulings []ruling) (n int) {
	for _, r := range rulings {
		if r.refusal != "" {
			n++
		}
	}
	return n
}

// admission judges what the API server said. A refusal must name Pod Security: one for
// another reason, such as a quota, may be gone tomorrow.
func admission(namespace string, rulings []ruling) error {
	var wrong []string
	for _, r := range rulings {
		switch {
		case r.admit && r.refusal != "":
			wrong = append(wrong, fmt.Sprintf("%s is refused: %s", r.what, r.refusal))
		case !r.admit && r.refusal == "":
			wrong = append(wrong, r.what+" is admitted")
		case !r.admit && !strings.Contains(r.refusal, "PodSecurity"):
			wrong = append(wrong, fmt.Sprintf("%s is refused, but not by Pod Security: %s", r.what, r.refusal))
		}
	}
	if len(wrong) == 0 {
		return nil
	}
	return fmt.Errorf("in namespace %s %s; want what is not restricted refused and Vault admitted", namespace, strings.Join(wrong, "; "))
}

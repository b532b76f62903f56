package isolation

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/onsi/ginkgo/v2"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/wait"

	"github.com/vaultproof/vaultproof/pkg/conformance"
	"github.com/vaultproof/vaultproof/pkg/target"
)

// scheduleTimeout is how long the scheduler may take to look at the twin; it
// takes well under a second when idle.
const scheduleTimeout = 30 * time.Second

var iso02 = conformance.Check{
	ID: "ISO-02", Area: area, Level: conformance.Must, Manner: conformance.Beside,
	Assertion: "required anti-affinity on hostname: N pods on N nodes, and another one beside them stays Pending",
	Source:    "vault-helm values.yaml, server.affinity",
	Observe:   "nodes of the Vault pods; a twin pod with the same labels and scheduling constraints, allowed on those nodes only",
}

var _ = conformance.It(iso02, conformance.Conformance, func(ctx ginkgo.SpecContext, r *conformance.Case) error {
	pods, err := r.Target.Pods(ctx)
	if err != nil {
		return r.CannotTell(err)
	}
	if err := distinctNodes(pods); err != nil {
		return err
	}
	template, err := r.Target.Template(ctx)
	if err != nil {
		return r.CannotTell(err)
	}
	twin := twinOf(template, pods, r.ID)
	client := r.Target.Client.CoreV1().Pods(r.Target.Namespace)
	r.Defer(func(ctx context.Context) error {
		err := client.Delete(ctx, twin.Name, metav1.DeleteOptions{GracePeriodSeconds: new(int64)})
		if err != nil && !apierrors.IsNotFound(err) {
			return fmt.Errorf("deleting the twin pod %s/%s: %w", r.Target.Namespace, twin.Name, err)
		}
		return nil
	})
	if _, err := client.Create(ctx, twin, metav1.CreateOptions{}); err != nil {
		return r.CannotTell(fmt.Errorf("creating the twin pod %s/%s: %w", r.Target.Namespace, twin.Name, err))
	}
	seen, err := awaitScheduler(ctx, r.Target, twin.Name)
	if err != nil {
		return r.CannotTell(err)
	}
	return refused(seen)
})

// distinctNodes judges where the pods are now.
func distinctNodes(pods []corev1.Pod) error {
	if len(pods) == 0 {
		return errors.New("there is no Vault pod")
	}
	onNode := map[string]string{}
	for _, p := range pods {
		if p.Spec.NodeName == "" {
			return fmt.Errorf("Vault pod %s is on no node, want each on one of its own", p.Name)
		}
		if other := onNode[p.Spec.NodeName]; other != "" {
			return fmt.Errorf("Vault pods %s and %s are both on node %s, want each on one of its own", other, p.Name, p.Spec.NodeName)
		}
		onNode[p.Spec.NodeName] = p.Name
	}
	return nil
}

// twinOf is a pod that the scheduler sees as another replica, and that can only
// go where a Vault pod is already: whatever else may keep it off a node (its
// size, its volume, the spread over zones) is left out, so that anti-affinity
// alone decides. Should it start, it never becomes Ready, so no client and no
// peer ever meets it.
func twinOf(template corev1.PodTemplateSpec, pods []corev1.Pod, run string) *corev1.Pod {
	yes, no, user, grace := true, false, int64(65535), int64(0)
	labels := map[string]string{}
	for key, value := range template.Labels {
		labels[key] = value
	}
	labels[target.ManagedBy], labels[target.RunLabel] = target.ManagedByValue, run
	var nodes []string
	for _, p := range pods {
		nodes = append(nodes, p.Spec.NodeName)
	}
	slices.Sort(nodes)
	terms := make([]corev1.NodeSelectorTerm, 0, len(nodes))
	for _, n := range nodes { // matchFields takes one value a term
		terms = append(terms, corev1.NodeSelectorTerm{MatchFields: []corev1.NodeSelectorRequirement{
			{Key: metav1.ObjectNameField, Operator: corev1.NodeSelectorOpIn, Values: []string{n}},
		}})
	}
	affinity := &corev1.Affinity{NodeAffinity: &corev1.NodeAffinity{
		RequiredDuringSchedulingIgnoredDuringExecution: &corev1.NodeSelector{NodeSelectorTerms: terms},
	}}
	if template.Spec.Affinity != nil {
		affinity.PodAntiAffinity = template.Spec.Affinity.PodAntiAffinity.DeepCopy()
	}
	return &corev1.Pod{
		ObjectMeta: metav1.ObjectMeta{Name: "vaultproof-twin-" + run, Labels: labels},
		Spec: corev1.PodSpec{
			NodeSelector: template.Spec.NodeSelector, Tolerations: template.Spec.Tolerations, Affinity: affinity,
			AutomountServiceAccountToken: &no, EnableServiceLinks: &no, TerminationGracePeriodSeconds: &grace,
			RestartPolicy: corev1.RestartPolicyNever,
			SecurityContext: &corev1.PodSecurityContext{
				RunAsNonRoot: &yes, RunAsUser: &user,
				SeccompProfile: &corev1.SeccompProfile{Type: corev1.SeccompProfileTypeRuntimeDefault},
			},
			// The last gate: Kubernetes' own way of keeping a pod unready.
			ReadinessGates: []corev1.PodReadinessGate{{ConditionType: "vaultproof.dev/never"}},
			Containers: []corev1.Container{{
				Name: "pause", Image: "registry.k8s.io/pause:3.10.2", ImagePullPolicy: corev1.PullIfNotPresent,
				SecurityContext: &corev1.SecurityContext{
					AllowPrivilegeEscalation: &no, ReadOnlyRootFilesystem: &yes,
					Capabilities: &corev1.Capabilities{Drop: []corev1.Capability{"ALL"}},
				},
			}},
		},
	}
}

// decision is what the scheduler made of the twin.
type decision struct {
	node    string // empty while it is Pending
	message string // why it is
}

// awaitScheduler waits until the scheduler has decided on the twin.
func awaitScheduler(ctx context.Context, t *target.Target, name string) (decision, error) {
	ctx, cancel := context.WithTimeout(ctx, scheduleTimeout)
	defer cancel()
	var seen decision
	err := wait.PollUntilContextCancel(ctx, 250*time.Millisecond, true, func(ctx context.Context) (bool, error) {
		pod, err := t.Client.CoreV1().Pods(t.Namespace).Get(ctx, name, metav1.GetOptions{})
		if err != nil {
			return false, fmt.Errorf("reading the twin pod %s: %w", name, err)
		}
		seen = decisionOn(pod)
		return seen.node != "" || seen.message != "", nil
	})
	if err != nil {
		return seen, fmt.Errorf("the scheduler did not decide on the twin pod %s in %s: %w", name, scheduleTimeout, err)
	}
	return seen, nil
}

func decisionOn(pod *corev1.Pod) decision {
	d := decision{node: pod.Spec.NodeName}
	for _, c := range pod.Status.Conditions {
		if c.Type == corev1.PodScheduled && c.Status == corev1.ConditionFalse && c.Reason == corev1.PodReasonUnschedulable {
			d.message = c.Message
		}
	}
	return d
}

// refused judges the scheduler's decision.
func refused(d decision) error {
	switch {
	case d.node != "":
		return fmt.Errorf("a twin of the Vault pods was scheduled to node %s beside one of them, want required anti-affinity on kubernetes.io/hostname to keep it Pending", d.node)
	case !strings.Contains(d.message, "anti-affinity"):
		return fmt.Errorf("a twin of the Vault pods is Pending, but not because of anti-affinity: %q", d.message)
	}
	return nil
}

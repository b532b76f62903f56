package isolation

import (
	"context"
	"fmt"
	"io"
	"maps"
	"time"

	corev1 "k8s.io/api/core/v1"
	networkingv1 "k8s.io/api/networking/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/wait"

	"github.com/vaultproof/vaultproof/pkg/probe"
	"github.com/vaultproof/vaultproof/pkg/target"
)

// manifest is a guest's pod: it has no rights, and no Service takes it for ready.
func (p *party) manifest(g guest, args ...string) *corev1.Pod {
	yes, no, user := true, false, int64(65532)
	marks := map[string]string{}
	maps.Copy(marks, g.labels)
	maps.Copy(marks, p.marks(g.role))
	return &corev1.Pod{
		ObjectMeta: metav1.ObjectMeta{Namespace: g.namespace, Name: "vaultproof-" + p.check + "-" + g.role + "-" + p.run, Labels: marks},
		Spec: corev1.PodSpec{
			RestartPolicy:                corev1.RestartPolicyNever,
			AutomountServiceAccountToken: &no, EnableServiceLinks: &no, TerminationGracePeriodSeconds: new(int64),
			SecurityContext: &corev1.PodSecurityContext{
				RunAsNonRoot: &yes, RunAsUser: &user, RunAsGroup: &user,
				SeccompProfile: &corev1.SeccompProfile{Type: corev1.SeccompProfileTypeRuntimeDefault},
			},
			// Kubernetes' own way of keeping a pod unready for ever.
			ReadinessGates: []corev1.PodReadinessGate{{ConditionType: "vaultproof.dev/never"}},
			Containers: []corev1.Container{{
				Name: "prober", Image: probe.DefaultImage, ImagePullPolicy: corev1.PullIfNotPresent, Args: args,
				SecurityContext: &corev1.SecurityContext{
					AllowPrivilegeEscalation: &no, ReadOnlyRootFilesystem: &yes,
					Capabilities: &corev1.Capabilities{Drop: []corev1.Capability{"ALL"}},
				},
			}},
		},
	}
}

// marks are the labels of one guest of this run, and of nobody else.
func (p *party) marks(role string) map[string]string {
	return map[string]string{target.ManagedBy: target.ManagedByValue, target.RunLabel: p.run, guestLabel: p.check + "-" + role}
}

// seeOff has a guest deleted when the check is over.
func (p *party) seeOff(pod *corev1.Pod) {
	p.cleanup(func(ctx context.Context) error {
		err := p.client.CoreV1().Pods(pod.Namespace).Delete(ctx, pod.Name, metav1.DeleteOptions{GracePeriodSeconds: new(int64)})
		if err != nil && !apierrors.IsNotFound(err) {
			return fmt.Errorf("deleting the guest pod %s/%s: %w", pod.Namespace, pod.Name, err)
		}
		return nil
	})
}

func (p *party) create(ctx context.Context, pod *corev1.Pod) (*corev1.Pod, error) {
	made, err := p.client.CoreV1().Pods(pod.Namespace).Create(ctx, pod, metav1.CreateOptions{})
	if err != nil {
		return nil, fmt.Errorf("creating the guest pod %s/%s: %w", pod.Namespace, pod.Name, err)
	}
	return made, nil
}

// release lets a guest connect to anywhere. The policy selects this pod alone and goes
// with it.
func (p *party) release(ctx context.Context, role string, pod *corev1.Pod) error {
	policy := &networkingv1.NetworkPolicy{
		ObjectMeta: metav1.ObjectMeta{
			Namespace: pod.Namespace, Name: pod.Name, Labels: p.marks(role),
			OwnerReferences: []metav1.OwnerReference{{APIVersion: "v1", Kind: "Pod", Name: pod.Name, UID: pod.UID}},
		},
		Spec: networkingv1.NetworkPolicySpec{
			PodSelector: metav1.LabelSelector{MatchLabels: p.marks(role)},
			PolicyTypes: []networkingv1.PolicyType{networkingv1.PolicyTypeEgress},
			Egress:      []networkingv1.NetworkPolicyEgressRule{{}},
		},
	}
	if _, err := p.client.NetworkingV1().NetworkPolicies(pod.Namespace).Create(ctx, policy, metav1.CreateOptions{}); err != nil {
		return fmt.Errorf("creating NetworkPolicy %s/%s for a guest: %w", policy.Namespace, policy.Name, err)
	}
	return nil
}

// await waits until a guest is as wanted. One that ended otherwise never will be.
func (p *party) await(ctx context.Context, pod *corev1.Pod, done func(*corev1.Pod) bool) (*corev1.Pod, error) {
	ctx, cancel := context.WithTimeout(ctx, guestPatience)
	defer cancel()
	var now *corev1.Pod
	state := "it was not looked at"
	err := wait.PollUntilContextCancel(ctx, 250*time.Millisecond, true, func(ctx context.Context) (bool, error) {
		seen, err := p.client.CoreV1().Pods(pod.Namespace).Get(ctx, pod.Name, metav1.GetOptions{})
		if err != nil {
			if ctx.Err() == nil {
				state = err.Error()
			}
			return false, nil // the deadline decides
		}
		now, state = seen, progress(seen)
		if !done(seen) && ended(seen) {
			return false, fmt.Errorf("it ended: %s", state)
		}
		return done(seen), nil
	})
	if err != nil {
		return nil, fmt.Errorf("waiting up to %s for the guest pod %s/%s: %w; %s", guestPatience, pod.Namespace, pod.Name, err, state)
	}
	return now, nil
}

// progress says how far a guest is.
func progress(pod *corev1.Pod) string {
	for _, c := range pod.Status.ContainerStatuses {
		switch {
		case c.State.Waiting != nil && c.State.Waiting.Message != "":
			return fmt.Sprintf("its container waits: %s %s", c.State.Waiting.Reason, c.State.Waiting.Message)
		case c.State.Terminated != nil:
			return fmt.Sprintf("its container ended with exit code %d", c.State.Terminated.ExitCode)
		}
	}
	for _, c := range pod.Status.Conditions {
		if c.Type == corev1.PodScheduled && c.Status == corev1.ConditionFalse {
			return "no node takes it: " + c.Message
		}
	}
	return "it is " + string(pod.Status.Phase)
}

func (p *party) log(ctx context.Context, pod *corev1.Pod) (string, error) {
	stream, err := p.client.CoreV1().Pods(pod.Namespace).GetLogs(pod.Name, &corev1.PodLogOptions{}).Stream(ctx)
	if err != nil {
		return "", fmt.Errorf("opening the log of the guest pod %s/%s: %w", pod.Namespace, pod.Name, err)
	}
	defer stream.Close()
	text, err := io.ReadAll(io.LimitReader(stream, guestLog))
	if err != nil {
		return "", fmt.Errorf("reading the log of the guest pod %s/%s: %w", pod.Namespace, pod.Name, err)
	}
	return string(text), nil
}

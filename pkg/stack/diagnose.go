package stack

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"
)

// sidecarName is the container whose log says why Vault is not ready.
const sidecarName = "bootstrap"

// diagnose tells of each pod what its containers, its events and its sidecar say, a
// line each, starting with a newline. It does its best: what cannot be read is left out.
func diagnose(ctx context.Context, client kubernetes.Interface, namespace string) string {
	pods, err := client.CoreV1().Pods(namespace).List(ctx, metav1.ListOptions{LabelSelector: podSelector})
	if err != nil {
		return fmt.Sprintf("\n  the pods cannot be listed: %v", err)
	}
	warnings := map[string]corev1.Event{}
	if events, err := client.CoreV1().Events(namespace).List(ctx, metav1.ListOptions{}); err == nil {
		warnings = lastWarnings(events.Items)
	}
	var out strings.Builder
	for i := range pods.Items {
		pod := &pods.Items[i]
		fmt.Fprintf(&out, "\n  %s on node %s:", pod.Name, cmp.Or(pod.Spec.NodeName, "(none)"))
		for _, line := range podFacts(pod) {
			fmt.Fprintf(&out, "\n    %s", line)
		}
		if event, found := warnings[pod.Name]; found {
			fmt.Fprintf(&out, "\n    event %s: %s", event.Reason, event.Message)
		}
		if line := lastLine(ctx, client, pod); line != "" {
			fmt.Fprintf(&out, "\n    %s says: %s", sidecarName, line)
		}
	}
	if len(pods.Items) == 0 {
		if event, found := warnings[statefulSetName]; found {
			fmt.Fprintf(&out, "\n  StatefulSet %s: event %s: %s", statefulSetName, event.Reason, event.Message)
		}
	}
	return out.String()
}

// podFacts are the conditions and container states that are not as they should be.
func podFacts(pod *corev1.Pod) []string {
	var facts []string
	for _, c := range pod.Status.Conditions {
		if c.Type == corev1.PodScheduled && c.Status != corev1.ConditionTrue {
			facts = append(facts, "not scheduled: "+c.Message)
		}
	}
	for _, c := range pod.Status.ContainerStatuses {
		switch {
		case c.State.Waiting != nil:
			facts = append(facts, strings.TrimSpace(fmt.Sprintf("container %s waits: %s %s", c.Name, c.State.Waiting.Reason, c.State.Waiting.Message)))
		case c.State.Terminated != nil:
			facts = append(facts, fmt.Sprintf("container %s ended with exit code %d (%s)", c.Name, c.State.Terminated.ExitCode, c.State.Terminated.Reason))
		case !c.Ready:
			facts = append(facts, fmt.Sprintf("container %s runs but is not ready", c.Name))
		}
		if last := c.LastTerminationState.Terminated; last != nil {
			facts = append(facts, fmt.Sprintf("container %s was restarted %d times, the last time after exit code %d (%s)", c.Name, c.RestartCount, last.ExitCode, last.Reason))
		}
	}
	labels := []string{}
	for _, label := range []string{labelInitialized, labelSealed, labelActive} {
		labels = append(labels, label+"="+cmp.Or(pod.Labels[label], "(absent)"))
	}
	return append(facts, "labels "+strings.Join(labels, " "))
}

// lastWarnings is the newest warning about each object, by its name.
func lastWarnings(events []corev1.Event) map[string]corev1.Event {
	slices.SortStableFunc(events, func(a, b corev1.Event) int {
		return a.LastTimestamp.Compare(b.LastTimestamp.Time)
	})
	last := map[string]corev1.Event{}
	for _, event := range events {
		if event.Type == corev1.EventTypeWarning {
			last[event.InvolvedObject.Name] = event
		}
	}
	return last
}

// lastLine is the end of the sidecar's log; empty if there is none.
func lastLine(ctx context.Context, client kubernetes.Interface, pod *corev1.Pod) string {
	text, err := client.CoreV1().Pods(pod.Namespace).GetLogs(pod.Name, &corev1.PodLogOptions{
		Container: sidecarName,
		TailLines: pointer(int64(1)),
	}).DoRaw(ctx)
	if err != nil {
		return ""
	}
	return strings.TrimSpace(string(text))
}

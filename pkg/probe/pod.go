package probe

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/wait"
	"k8s.io/client-go/kubernetes"

	"github.com/vaultproof/vaultproof/pkg/kube"
)

const (
	labelName = "app.kubernetes.io/name"
	labelRun  = "vaultproof.dev/run"
	// labelClient is what the NetworkPolicies of the stack let through to
	// Vault's API.
	labelClient = "vaultproof.dev/client"

	podPatience    = 2 * time.Minute  // for a prober pod to run
	deletePatience = 15 * time.Second // for the API server to take a deletion
)

// runPod makes the namespace and a pod in it, and waits until the pod runs.
// On error the pod is deleted.
func runPod(ctx context.Context, client kubernetes.Interface, opts Options) (string, error) {
	if err := kube.EnsureNamespace(ctx, client, opts.Namespace); err != nil {
		return "", err
	}
	selector, err := placement(ctx, client, opts.NodeSelector)
	if err != nil {
		return "", err
	}
	pod, err := client.CoreV1().Pods(opts.Namespace).Create(ctx, podManifest(opts, selector), metav1.CreateOptions{})
	if err != nil {
		return "", fmt.Errorf("creating the prober pod in %s: %w", opts.Namespace, err)
	}
	if err := awaitRunning(ctx, client, opts.Namespace, pod.Name); err != nil {
		return "", errors.Join(err, deletePod(ctx, client, opts.Namespace, pod.Name))
	}
	return pod.Name, nil
}

// placement is the node selector of the prober. It keeps off the Vault nodes
// if there is a node for services, so that a fault of a zone does not hit the
// prober too.
func placement(ctx context.Context, client kubernetes.Interface, wanted map[string]string) (map[string]string, error) {
	if wanted != nil {
		return maps.Clone(wanted), nil
	}
	return kube.ServicesNode(ctx, client)
}

func podManifest(opts Options, selector map[string]string) *corev1.Pod {
	yes, no := true, false
	user, grace := int64(65532), int64(1)
	return &corev1.Pod{
		ObjectMeta: metav1.ObjectMeta{
			GenerateName: "prober-", Namespace: opts.Namespace,
			Labels: map[string]string{
				kube.ManagedByLabel: kube.ManagedBy, labelName: "prober", labelRun: opts.RunID, labelClient: "vault",
			},
		},
		Spec: corev1.PodSpec{
			// What a prober saw is in its memory: one that restarts has lost it.
			RestartPolicy:                 corev1.RestartPolicyNever,
			TerminationGracePeriodSeconds: &grace,
			AutomountServiceAccountToken:  &no,
			EnableServiceLinks:            &no,
			NodeSelector:                  selector,
			SecurityContext: &corev1.PodSecurityContext{
				RunAsNonRoot: &yes, RunAsUser: &user, RunAsGroup: &user,
				SeccompProfile: &corev1.SeccompProfile{Type: corev1.SeccompProfileTypeRuntimeDefault},
			},
			Containers: []corev1.Container{{
				Name: "prober", Image: opts.Image, ImagePullPolicy: corev1.PullIfNotPresent,
				// The whole command, so that it does not matter what the image
				// calls its entry point.
				Args: []string{"run"},
				Resources: corev1.ResourceRequirements{
					Requests: corev1.ResourceList{
						corev1.ResourceCPU: resource.MustParse("50m"), corev1.ResourceMemory: resource.MustParse("64Mi"),
					},
					Limits: corev1.ResourceList{corev1.ResourceMemory: resource.MustParse("1Gi")},
				},
				SecurityContext: &corev1.SecurityContext{
					AllowPrivilegeEscalation: &no, ReadOnlyRootFilesystem: &yes,
					Capabilities: &corev1.Capabilities{Drop: []corev1.Capability{"ALL"}},
				},
			}},
		},
	}
}

// awaitRunning waits until the container runs, and tells early why it will not.
func awaitRunning(ctx context.Context, client kubernetes.Interface, namespace, name string) error {
	ctx, cancel := context.WithTimeout(ctx, podPatience)
	defer cancel()
	state := "it has not been scheduled"
	err := wait.PollUntilContextCancel(ctx, 250*time.Millisecond, true, func(ctx context.Context) (bool, error) {
		pod, err := client.CoreV1().Pods(namespace).Get(ctx, name, metav1.GetOptions{})
		if apierrors.IsNotFound(err) {
			return false, errors.New("it was deleted")
		}
		if err != nil {
			state = err.Error()
			return false, nil // the API server may be busy; ctx bounds the wait
		}
		var running bool
		running, state, err = podState(pod)
		return running, err
	})
	if err != nil && ctx.Err() != nil {
		err = errors.New(state)
	}
	if err != nil {
		return fmt.Errorf("waiting for the prober pod %s/%s: %w", namespace, name, err)
	}
	return nil
}

// podState reads whether the prober runs and, if it does not, why; the error
// is set when it never will.
func podState(pod *corev1.Pod) (running bool, state string, err error) {
	for _, c := range pod.Status.ContainerStatuses {
		switch {
		case c.State.Running != nil:
			return true, "", nil
		case c.State.Terminated != nil:
			return false, "", fmt.Errorf("it ended with exit code %d (%s)", c.State.Terminated.ExitCode, c.State.Terminated.Reason)
		case c.State.Waiting != nil:
			state = strings.TrimSpace(c.State.Waiting.Reason + " " + c.State.Waiting.Message)
			switch c.State.Waiting.Reason {
			case "ImagePullBackOff", "ErrImageNeverPull", "InvalidImageName", "CreateContainerConfigError":
				return false, state, fmt.Errorf("its image %s cannot be started: %s; load the image into the cluster or name another one", c.Image, state)
			}
		}
	}
	if pod.Status.Phase == corev1.PodFailed {
		return false, "", fmt.Errorf("it failed: %s %s", pod.Status.Reason, pod.Status.Message)
	}
	for _, c := range pod.Status.Conditions {
		if c.Type == corev1.PodScheduled && c.Status == corev1.ConditionFalse {
			state = "no node takes it: " + c.Message
		}
	}
	if state == "" {
		state = "its container has not started"
	}
	return false, state, nil
}

// deletePod deletes the pod even if ctx has been cancelled: an interrupted run
// leaves nothing behind.
func deletePod(ctx context.Context, client kubernetes.Interface, namespace, name string) error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), deletePatience)
	defer cancel()
	err := client.CoreV1().Pods(namespace).Delete(ctx, name, metav1.DeleteOptions{})
	if err != nil && !apierrors.IsNotFound(err) {
		return fmt.Errorf("deleting the prober pod %s/%s: %w", namespace, name, err)
	}
	return nil
}

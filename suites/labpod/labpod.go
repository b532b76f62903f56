// Package labpod asks the lab a question in a pod of its own, beside the cluster's other work:
// real Vaults of the target's own version, which have nothing to do with the target.
package labpod

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/wait"
	"k8s.io/client-go/kubernetes"

	"github.com/vaultproof/vaultproof/fixtures/lab"
	"github.com/vaultproof/vaultproof/pkg/conformance"
	"github.com/vaultproof/vaultproof/pkg/kube"
	"github.com/vaultproof/vaultproof/pkg/target"
)

const (
	// image holds the command lab and the sidecar built with failpoints. Vault comes from
	// the target's own image.
	image = "vaultproof/lab:v0.1.0"
	// startTimeout is how long the lab's pod may take to start.
	startTimeout = 2 * time.Minute
	// lookEvery is how often the pod is looked at.
	lookEvery = 500 * time.Millisecond
)

// Run asks the question and returns the answer as JSON. The lab's progress goes into the
// timeline. It is ended with the check, or when the check's time is over.
func Run(ctx context.Context, r *conformance.Case, question string) ([]byte, error) {
	pods := r.Target.Client.CoreV1().Pods(target.SystemNamespace)
	if err := kube.EnsureNamespace(ctx, r.Target.Client, target.SystemNamespace); err != nil {
		return nil, err
	}
	placement, err := kube.ServicesNode(ctx, r.Target.Client)
	if err != nil {
		return nil, err
	}
	vault, err := vaultImage(ctx, r.Target)
	if err != nil {
		return nil, err
	}
	pod, err := pods.Create(ctx, manifest(r, question, vault, placement), metav1.CreateOptions{})
	if err != nil {
		return nil, fmt.Errorf("creating the pod of the lab: %w", err)
	}
	r.Defer(func(ctx context.Context) error {
		if err := pods.Delete(ctx, pod.Name, metav1.DeleteOptions{}); err != nil && !apierrors.IsNotFound(err) {
			return fmt.Errorf("deleting the pod of the lab: %w", err)
		}
		return nil
	})
	starting, cancel := context.WithTimeout(ctx, startTimeout)
	defer cancel()
	if err := await(starting, r.Target.Client, pod.Name, started); err != nil {
		return nil, err
	}
	follow(ctx, r, pod.Name)
	if err := await(ctx, r.Target.Client, pod.Name, ended); err != nil {
		return nil, err
	}
	return awaitResult(ctx, r.Target.Client, pod.Name)
}

// logLag is how much later than the end of a pod the end of its log may be there.
const logLag = 10 * time.Second

// awaitResult reads the result of a lab that has ended.
func awaitResult(ctx context.Context, client kubernetes.Interface, pod string) (result []byte, err error) {
	patient, cancel := context.WithTimeout(ctx, logLag)
	defer cancel()
	_ = wait.PollUntilContextCancel(patient, 250*time.Millisecond, true, func(context.Context) (bool, error) {
		// By the caller's context: what the last look saw is told, not that time is up.
		result, err = readResult(ctx, client, pod)
		return err == nil, nil
	})
	return result, err
}

func readResult(ctx context.Context, client kubernetes.Interface, pod string) ([]byte, error) {
	log, err := client.CoreV1().Pods(target.SystemNamespace).GetLogs(pod, &corev1.PodLogOptions{}).Stream(ctx)
	if err != nil {
		return nil, fmt.Errorf("reading the log of the lab: %w", err)
	}
	defer log.Close()
	return resultIn(log)
}

// follow notes every line of the lab's progress until its log ends. It may break off
// early: what counts is read when the lab has ended.
func follow(ctx context.Context, r *conformance.Case, pod string) {
	log, err := r.Target.Client.CoreV1().Pods(target.SystemNamespace).GetLogs(pod, &corev1.PodLogOptions{Follow: true}).Stream(ctx)
	if err != nil {
		r.Note("the progress of the lab cannot be followed: %v", err)
		return
	}
	defer log.Close()
	for lines := bufio.NewReader(log); ; {
		line, err := lines.ReadString('\n')
		if line = strings.TrimSpace(line); line != "" && !strings.HasPrefix(line, lab.Marker) {
			r.Note("%s", line)
		}
		if err != nil {
			return
		}
	}
}

// resultIn finds the result in the log of a lab; without one the last lines say why.
func resultIn(log io.Reader) ([]byte, error) {
	var last string
	for lines := bufio.NewReader(log); ; {
		line, err := lines.ReadString('\n')
		if raw, ok := strings.CutPrefix(line, lab.Marker); ok && strings.HasSuffix(line, "\n") {
			return []byte(raw), nil
		}
		if strings.TrimSpace(line) != "" {
			last = strings.TrimSpace(line)
		}
		switch {
		case errors.Is(err, io.EOF):
			return nil, fmt.Errorf("the lab ended without a result; its log ends with %q", last)
		case err != nil:
			return nil, fmt.Errorf("reading the log of the lab: %w", err)
		}
	}
}

// stage tells whether a pod got somewhere, or why it never will.
type stage func(*corev1.Pod) (there bool, err error)

func await(ctx context.Context, client kubernetes.Interface, name string, until stage) error {
	state := "it was not looked at"
	err := wait.PollUntilContextCancel(ctx, lookEvery, true, func(ctx context.Context) (bool, error) {
		pod, err := client.CoreV1().Pods(target.SystemNamespace).Get(ctx, name, metav1.GetOptions{})
		if apierrors.IsNotFound(err) {
			return false, errors.New("it was deleted")
		}
		if err != nil {
			state = err.Error()
			return false, nil // the API server may be busy; ctx bounds the wait
		}
		state = "its phase is " + string(pod.Status.Phase)
		return until(pod)
	})
	if err != nil && ctx.Err() != nil {
		err = fmt.Errorf("%s (%w)", state, err)
	}
	if err != nil {
		return fmt.Errorf("waiting for the pod %s/%s of the lab: %w", target.SystemNamespace, name, err)
	}
	return nil
}

func started(pod *corev1.Pod) (bool, error) {
	for _, c := range pod.Status.ContainerStatuses {
		if w := c.State.Waiting; w != nil {
			switch w.Reason {
			case "ErrImagePull", "ImagePullBackOff", "ErrImageNeverPull", "InvalidImageName", "CreateContainerConfigError":
				return false, fmt.Errorf("its image %s cannot be started (%s %s): load the image into the cluster", c.Image, w.Reason, w.Message)
			}
		}
	}
	return pod.Status.Phase != corev1.PodPending && pod.Status.Phase != "", nil
}

// ended is also true for a pod that failed: the lab does so when what it found is bad.
func ended(pod *corev1.Pod) (bool, error) {
	if pod.Status.Reason != "" {
		return false, fmt.Errorf("it was ended: %s %s", pod.Status.Reason, pod.Status.Message)
	}
	return pod.Status.Phase == corev1.PodSucceeded || pod.Status.Phase == corev1.PodFailed, nil
}

// vaultImage is the image of the Vault under test.
func vaultImage(ctx context.Context, t *target.Target) (string, error) {
	pods, err := t.Pods(ctx)
	if err != nil {
		return "", err
	}
	for _, pod := range pods {
		for _, c := range pod.Spec.Containers {
			if c.Name == t.Container {
				return c.Image, nil
			}
		}
	}
	return "", fmt.Errorf("no pod of StatefulSet %s has a container %s, whose Vault the lab is to take", t.StatefulSet, t.Container)
}

// manifest is a pod that asks the lab one question and ends. It needs no network but
// loopback, and no rights. Its label has a run that died swept up by the next one.
func manifest(r *conformance.Case, question, vault string, placement map[string]string) *corev1.Pod {
	yes, no := true, false
	user, grace, deadline := int64(65532), int64(1), int64(r.Check.Timeout.Seconds())
	memory := resource.MustParse("1Gi")
	restricted := &corev1.SecurityContext{
		AllowPrivilegeEscalation: &no, ReadOnlyRootFilesystem: &yes,
		Capabilities: &corev1.Capabilities{Drop: []corev1.Capability{"ALL"}},
	}
	return &corev1.Pod{
		ObjectMeta: metav1.ObjectMeta{
			GenerateName: "lab-", Namespace: target.SystemNamespace,
			Labels: map[string]string{target.ManagedBy: target.ManagedByValue, target.NameLabel: "lab", target.RunLabel: r.ID},
		},
		Spec: corev1.PodSpec{
			RestartPolicy:                 corev1.RestartPolicyNever,
			ActiveDeadlineSeconds:         &deadline,
			TerminationGracePeriodSeconds: &grace,
			AutomountServiceAccountToken:  &no,
			EnableServiceLinks:            &no,
			NodeSelector:                  placement,
			SecurityContext: &corev1.PodSecurityContext{
				RunAsNonRoot: &yes, RunAsUser: &user, RunAsGroup: &user, FSGroup: &user,
				SeccompProfile: &corev1.SeccompProfile{Type: corev1.SeccompProfileTypeRuntimeDefault},
			},
			Volumes: []corev1.Volume{
				{Name: "work", VolumeSource: corev1.VolumeSource{
					EmptyDir: &corev1.EmptyDirVolumeSource{Medium: corev1.StorageMediumMemory, SizeLimit: &memory},
				}},
				{Name: "vault", VolumeSource: corev1.VolumeSource{EmptyDir: &corev1.EmptyDirVolumeSource{}}},
			},
			InitContainers: []corev1.Container{{
				Name: "vault", Image: vault, ImagePullPolicy: corev1.PullIfNotPresent,
				Command:         []string{"/bin/sh", "-c", "cp \"$(command -v vault)\" /lab/vault"},
				VolumeMounts:    []corev1.VolumeMount{{Name: "vault", MountPath: "/lab"}},
				SecurityContext: restricted,
			}},
			Containers: []corev1.Container{{
				Name: "lab", Image: image, ImagePullPolicy: corev1.PullIfNotPresent,
				Args:         []string{"-vault", "/lab/vault", "-dir", "/work", "-json", "-", question},
				VolumeMounts: []corev1.VolumeMount{{Name: "work", MountPath: "/work"}, {Name: "vault", MountPath: "/lab", ReadOnly: true}},
				// It takes the processors that nobody else wants: Vault is under test beside it.
				Resources: corev1.ResourceRequirements{
					Requests: corev1.ResourceList{corev1.ResourceCPU: resource.MustParse("1m"), corev1.ResourceMemory: resource.MustParse("512Mi")},
					Limits:   corev1.ResourceList{corev1.ResourceMemory: resource.MustParse("5Gi")},
				},
				SecurityContext: restricted,
			}},
		},
	}
}

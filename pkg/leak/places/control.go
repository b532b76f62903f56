package places

import (
	"context"
	"crypto/rand"
	"encoding/base64"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"slices"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/wait"
	"k8s.io/client-go/kubernetes"

	"github.com/vaultproof/vaultproof/pkg/leak"
	"github.com/vaultproof/vaultproof/pkg/target"
)

const (
	// restartTimeout bounds how long the planted pod may take until its container
	// runs for the second time; Kubernetes itself waits 10 s before that.
	restartTimeout = 90 * time.Second
	removeTimeout  = 30 * time.Second
	controlPoll    = 250 * time.Millisecond
	controlUser    = 65534 // nobody
)

// control is a secret of the search's own, planted in places of the cluster.
type control struct {
	needle leak.Needle
	text   []byte // the needle in all encodings, in all that the scanner opens
	target *target.Target
	client kubernetes.Interface
	name   string // of everything that is planted
	// onDisks means that it has to be found on a node's disk too.
	onDisks bool
}

func newControl(opts Options) (*control, error) {
	t := opts.Target
	random := make([]byte, 36)
	if _, err := rand.Read(random); err != nil {
		return nil, fmt.Errorf("making a secret for the positive control: %w", err)
	}
	value := []byte(base64.RawURLEncoding.EncodeToString(random[:30]))
	text, err := leak.Plant(value)
	if err != nil {
		return nil, fmt.Errorf("making the positive control: %w", err)
	}
	return &control{
		needle: leak.Needle{Name: "positive control of the places", Value: value}, text: text,
		target: t, client: t.Client, onDisks: opts.Disks != nil && len(opts.Paths) == 0, name: fmt.Sprintf("leak-control-%x", random[30:]),
	}, nil
}

func (c *control) meta() metav1.ObjectMeta {
	return metav1.ObjectMeta{
		Name: c.name, Namespace: c.target.Namespace,
		Labels: map[string]string{target.ManagedBy: target.ManagedByValue, target.RunLabel: c.name},
	}
}

// plant puts the control into a Secret, a ConfigMap, an event, and a pod that says
// it in its log and in its termination message, and waits until the pod's
// container has a previous log.
func (c *control) plant(ctx context.Context) error {
	core := c.client.CoreV1()
	namespace := c.target.Namespace
	value := string(c.needle.Value)
	secret := &corev1.Secret{ObjectMeta: c.meta(), Data: map[string][]byte{"all": c.text}}
	if _, err := core.Secrets(namespace).Create(ctx, secret, metav1.CreateOptions{}); err != nil {
		return fmt.Errorf("planting the positive control in a Secret: %w", err)
	}
	config := &corev1.ConfigMap{ObjectMeta: c.meta(), Data: map[string]string{"raw": value}, BinaryData: map[string][]byte{"all": c.text}}
	if _, err := core.ConfigMaps(namespace).Create(ctx, config, metav1.CreateOptions{}); err != nil {
		return fmt.Errorf("planting the positive control in a ConfigMap: %w", err)
	}
	event := &corev1.Event{
		ObjectMeta: c.meta(), Type: corev1.EventTypeNormal, Reason: "LeakControl", Message: value,
		InvolvedObject: corev1.ObjectReference{Kind: "Secret", Namespace: namespace, Name: c.name},
	}
	if _, err := core.Events(namespace).Create(ctx, event, metav1.CreateOptions{}); err != nil {
		return fmt.Errorf("planting the positive control in an event: %w", err)
	}
	pod, err := c.pod(ctx)
	if err != nil {
		return err
	}
	if _, err := core.Pods(namespace).Create(ctx, pod, metav1.CreateOptions{}); err != nil {
		return fmt.Errorf("planting the positive control in a pod: %w", err)
	}
	return c.awaitRestart(ctx)
}

// sayTwice says the control, ends, and says it again in the container's second life, which
// lasts: of a container that ends again and again the kubelet removes what was read a
// moment ago.
const sayTwice = `printf '%s\n' "$CONTROL"
[ ! -e /said/once ] || exec sleep 3600
printf '%s' "$CONTROL" > /dev/termination-log
: > /said/once
exit 1`

// pod says the control in two lives. It runs the image of Vault, which is on the nodes.
func (c *control) pod(ctx context.Context) (*corev1.Pod, error) {
	set, err := c.client.AppsV1().StatefulSets(c.target.Namespace).Get(ctx, c.target.StatefulSet, metav1.GetOptions{})
	if err != nil {
		return nil, fmt.Errorf("reading StatefulSet %s/%s for an image to run the positive control with: %w", c.target.Namespace, c.target.StatefulSet, err)
	}
	i := slices.IndexFunc(set.Spec.Template.Spec.Containers, func(container corev1.Container) bool { return container.Name == c.target.Container })
	if i < 0 {
		return nil, fmt.Errorf("StatefulSet %s/%s has no container %s whose image could run the positive control", set.Namespace, set.Name, c.target.Container)
	}
	template := set.Spec.Template.Spec
	no, yes, user, grace := false, true, int64(controlUser), int64(0)
	return &corev1.Pod{
		ObjectMeta: c.meta(),
		Spec: corev1.PodSpec{
			RestartPolicy: corev1.RestartPolicyAlways, AutomountServiceAccountToken: &no,
			ImagePullSecrets: template.ImagePullSecrets, TerminationGracePeriodSeconds: &grace,
			SecurityContext: &corev1.PodSecurityContext{
				RunAsNonRoot: &yes, RunAsUser: &user, RunAsGroup: &user, FSGroup: &user,
				SeccompProfile: &corev1.SeccompProfile{Type: corev1.SeccompProfileTypeRuntimeDefault},
			},
			Volumes: []corev1.Volume{{Name: "said", VolumeSource: corev1.VolumeSource{EmptyDir: &corev1.EmptyDirVolumeSource{}}}},
			Containers: []corev1.Container{{
				Name: "control", Image: template.Containers[i].Image, ImagePullPolicy: corev1.PullIfNotPresent,
				Command:      []string{"/bin/sh", "-c", sayTwice},
				Env:          []corev1.EnvVar{{Name: "CONTROL", Value: string(c.needle.Value)}},
				VolumeMounts: []corev1.VolumeMount{{Name: "said", MountPath: "/said"}},
				SecurityContext: &corev1.SecurityContext{
					AllowPrivilegeEscalation: &no, ReadOnlyRootFilesystem: &yes,
					Capabilities: &corev1.Capabilities{Drop: []corev1.Capability{"ALL"}},
				},
			}},
		},
	}, nil
}

// awaitRestart waits until the planted container runs the second time.
func (c *control) awaitRestart(ctx context.Context) error {
	state := "it is not there"
	err := wait.PollUntilContextTimeout(ctx, controlPoll, restartTimeout, true, func(ctx context.Context) (bool, error) {
		pod, err := c.client.CoreV1().Pods(c.target.Namespace).Get(ctx, c.name, metav1.GetOptions{})
		if err != nil {
			state = err.Error()
			return false, nil
		}
		state = "its phase is " + string(pod.Status.Phase)
		for _, s := range pod.Status.ContainerStatuses {
			if s.State.Waiting != nil {
				state = "it waits: " + s.State.Waiting.Reason
			}
			if s.RestartCount > 0 && s.State.Running != nil {
				return true, nil
			}
		}
		return false, nil
	})
	if err != nil {
		return fmt.Errorf("pod %s/%s, which says the positive control, did not start a second time within %s (%s): %w", c.target.Namespace, c.name, restartTimeout, state, err)
	}
	return nil
}

// remove takes away what was planted.
func (c *control) remove(ctx context.Context) {
	ctx, cancel := context.WithTimeout(ctx, removeTimeout)
	defer cancel()
	core, namespace := c.client.CoreV1(), c.target.Namespace
	for kind, remove := range map[string]func(context.Context, string, metav1.DeleteOptions) error{
		"Secret": core.Secrets(namespace).Delete, "ConfigMap": core.ConfigMaps(namespace).Delete,
		"Event": core.Events(namespace).Delete, "Pod": core.Pods(namespace).Delete,
	} {
		if err := remove(ctx, c.name, metav1.DeleteOptions{}); err != nil && !apierrors.IsNotFound(err) {
			slog.Warn("what was planted for the positive control could not be removed", "kind", kind, "name", c.name, "namespace", namespace, "error", err.Error())
		}
	}
}

// ErrControl means that the search did not find what it had planted itself, so that
// finding nothing shows nothing.
var ErrControl = errors.New("the search missed its positive control")

// judge takes the control's findings out of the report, and fails if there is one
// too few. A disk has it in etcd's files or in a log, wherever the pod ran.
func (c *control) judge(report *leak.Report) error {
	seen := map[string][]leak.Finding{}
	report.Findings = slices.DeleteFunc(report.Findings, func(f leak.Finding) bool {
		if f.Needle != c.needle.Name {
			return false
		}
		seen[f.Place] = append(seen[f.Place], f)
		return true
	})
	container := fmt.Sprintf("%s/%s/control", c.target.Namespace, c.name)
	object := c.target.Namespace + "/" + c.name
	planted := map[string][]string{
		"Kubernetes objects":   {"secrets/" + object, "configmaps/" + object, "events/" + object, "pods/" + object},
		"termination messages": {"the termination message of " + container},
		"container logs":       {"the log of " + container, "the previous log of " + container},
	}
	var errs []error
	for i := range report.Places {
		place := &report.Places[i]
		if place.Name == DisksPlace && c.onDisks {
			place.Control = slices.ContainsFunc(slices.Collect(maps.Keys(seen)), func(item string) bool { return strings.HasPrefix(item, nodePrefix) })
			if !place.Control {
				errs = append(errs, errors.New("the planted secret was not found on the disk of any node, though a pod wrote it into its log"))
			}
		}
		for _, item := range planted[place.Name] {
			place.Control = len(seen[item]) > 0
			if !place.Control {
				errs = append(errs, fmt.Errorf("the secret planted in %s was not found there", item))
				break
			}
		}
	}
	for _, item := range planted["Kubernetes objects"][:2] {
		errs = append(errs, c.complete(item, seen[item]))
	}
	if err := errors.Join(errs...); err != nil {
		return fmt.Errorf("%w: %w", ErrControl, err)
	}
	return nil
}

// complete fails if an encoding that is in the planted text was not found in an
// object that holds it as base64.
func (c *control) complete(item string, seen []leak.Finding) error {
	scanner, err := leak.New(c.needle)
	if err != nil {
		return fmt.Errorf("judging the positive control: %w", err)
	}
	for _, want := range scanner.ScanBytes(c.text) {
		if !slices.ContainsFunc(seen, func(f leak.Finding) bool {
			return f.Encoding == want.Encoding && (f.Within == "base64" && want.Within == "" || f.Within == want.Within+" in base64")
		}) {
			return fmt.Errorf("of what was planted in %s, %s was not found there", item, strings.TrimSpace(want.Encoding+" "+want.Within))
		}
	}
	return nil
}

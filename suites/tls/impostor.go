package tls

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/util/wait"

	"github.com/vaultproof/vaultproof/pkg/conformance"
	"github.com/vaultproof/vaultproof/pkg/probe"
	"github.com/vaultproof/vaultproof/pkg/target"
)

const (
	// instanceLabel keeps Services, the disruption budget and the StatefulSet apart from
	// the impostor, which lacks it.
	instanceLabel = "app.kubernetes.io/instance"
	// nowhere is an address on which nothing listens.
	nowhere = "127.0.0.1:1"
	// impostorLife ends an impostor that nobody ends, in seconds; the next run deletes what
	// is left of it, by its label.
	impostorLife = int64(300)
	// maxLog is how much of a log is read, in bytes.
	maxLog = 1 << 20
)

// impostor is a pod of this run made from the Vault pods' own template, in which something
// that answers like a healthy Vault, with a certificate of another CA, is in Vault's place.
// No client and no peer ever meets it, and its sidecar has no custody.
type impostor struct {
	target *target.Target
	pod    *corev1.Pod
}

// startImpostor makes the pod and waits until its containers run.
func startImpostor(ctx context.Context, r *conformance.Case, template corev1.PodTemplateSpec) (*impostor, error) {
	i := &impostor{target: r.Target}
	if probe := readinessOf(template.Spec, r.Target.Container); probe != nil && probe.Exec != nil {
		return nil, r.Skip("readiness is a command in Vault's container (%s), which runs beside Vault's own binary only", strings.Join(probe.Exec.Command, " "))
	}
	i.pod = i.manifest(template, "vaultproof-tls-08-"+r.ID, r.ID)
	services, err := r.Target.Client.CoreV1().Services(r.Target.Namespace).List(ctx, metav1.ListOptions{})
	if err != nil {
		return nil, r.CannotTell(fmt.Errorf("listing the Services that may select an impostor: %w", err))
	}
	if err := metByNobody(i.pod.Labels, services.Items, r.Target.Selector); err != nil {
		return nil, r.Inconclusive("%w", err)
	}
	r.Defer(i.remove)
	if _, err := r.Target.Client.CoreV1().Pods(r.Target.Namespace).Create(ctx, i.pod, metav1.CreateOptions{}); err != nil {
		return nil, r.CannotTell(fmt.Errorf("creating the impostor's pod %s/%s: %w", r.Target.Namespace, i.pod.Name, err))
	}
	return i, r.CannotTell(i.awaitRunning(ctx))
}

func readinessOf(spec corev1.PodSpec, container string) *corev1.Probe {
	for _, c := range spec.Containers {
		if c.Name == container {
			return c.ReadinessProbe
		}
	}
	return nil
}

// manifest is the pod.
func (i *impostor) manifest(template corev1.PodTemplateSpec, name, run string) *corev1.Pod {
	marks := maps.Clone(template.Labels)
	delete(marks, instanceLabel)
	marks[target.ManagedBy], marks[target.RunLabel] = target.ManagedByValue, run
	spec := template.Spec.DeepCopy()
	// It may be beside a Vault, and must not displace anybody.
	spec.Affinity, spec.TopologySpreadConstraints, spec.PriorityClassName = nil, nil, ""
	grace, life := int64(1), impostorLife
	spec.TerminationGracePeriodSeconds, spec.ActiveDeadlineSeconds = &grace, &life
	for n := range spec.Containers {
		i.settle(&spec.Containers[n])
	}
	for n := range spec.InitContainers { // where a sidecar may be too
		i.settle(&spec.InitContainers[n])
	}
	for _, volume := range target.Unclaimed(*spec) {
		spec.Volumes = append(spec.Volumes, corev1.Volume{Name: volume, VolumeSource: corev1.VolumeSource{EmptyDir: &corev1.EmptyDirVolumeSource{}}})
	}
	return &corev1.Pod{
		ObjectMeta: metav1.ObjectMeta{Name: name + "-0", Namespace: i.target.Namespace, Labels: marks, Annotations: maps.Clone(template.Annotations)},
		Spec:       *spec,
	}
}

// settle puts the impostor into Vault's place, and leaves a sidecar alone in the world.
func (i *impostor) settle(c *corev1.Container) {
	switch c.Name {
	case i.target.Container:
		*c = corev1.Container{
			Name: c.Name, Image: probe.DefaultImage, ImagePullPolicy: corev1.PullIfNotPresent,
			Args:  []string{"impostor", "-listen", fmt.Sprintf("0.0.0.0:%d", target.VaultPort)},
			Ports: c.Ports, ReadinessProbe: c.ReadinessProbe, Resources: c.Resources, SecurityContext: c.SecurityContext,
		}
	case i.target.SidecarContainer:
		for name, value := range map[string]string{"PEERS": "", "FENCE": "false", "CUSTODY_ENDPOINT": nowhere} {
			flag := strings.ToLower(strings.ReplaceAll(name, "_", "-"))
			c.Args = slices.DeleteFunc(c.Args, func(arg string) bool { return strings.HasPrefix(strings.TrimLeft(arg, "-"), flag+"=") })
			c.Env = slices.DeleteFunc(c.Env, func(e corev1.EnvVar) bool { return e.Name == name })
			c.Env = append(c.Env, corev1.EnvVar{Name: name, Value: value})
		}
		c.Lifecycle, c.LivenessProbe = nil, nil
	}
}

// metByNobody refuses labels by which clients, peers or the StatefulSet would take the
// impostor for one of theirs.
func metByNobody(marks map[string]string, services []corev1.Service, own labels.Selector) error {
	if own.Matches(labels.Set(marks)) {
		return fmt.Errorf("an impostor would be taken for a pod of the StatefulSet, which selects %s without %s", own, instanceLabel)
	}
	for _, s := range services {
		// The active label is Vault's to set.
		selector := labels.Set(maps.Clone(s.Spec.Selector))
		delete(selector, target.ActiveLabel)
		if len(selector) > 0 && labels.SelectorFromSet(selector).Matches(labels.Set(marks)) {
			return fmt.Errorf("an impostor would be an endpoint of Service %s, which selects %s without %s", s.Name, selector, instanceLabel)
		}
	}
	return nil
}

// awaitRunning waits until every container was started.
func (i *impostor) awaitRunning(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, impostorStart)
	defer cancel()
	seen := "it was not looked at"
	err := wait.PollUntilContextCancel(ctx, 250*time.Millisecond, true, func(ctx context.Context) (bool, error) {
		pod, err := i.target.Client.CoreV1().Pods(i.target.Namespace).Get(ctx, i.pod.Name, metav1.GetOptions{})
		if err != nil {
			return false, nil // the deadline decides
		}
		started := 0
		for _, c := range pod.Status.ContainerStatuses {
			if c.State.Running != nil {
				started++
			}
			if c.State.Waiting != nil {
				seen = fmt.Sprintf("container %s waits: %s %s", c.Name, c.State.Waiting.Reason, c.State.Waiting.Message)
			}
		}
		return started == len(pod.Spec.Containers), nil
	})
	if err != nil {
		return fmt.Errorf("the impostor's pod %s does not run within %s: %s", i.pod.Name, impostorStart, seen)
	}
	return nil
}

// look adds to d what is to be seen now.
func (i *impostor) look(ctx context.Context, d *deception) error {
	pod, err := i.target.Client.CoreV1().Pods(i.target.Namespace).Get(ctx, i.pod.Name, metav1.GetOptions{})
	if err != nil {
		return fmt.Errorf("reading the impostor's pod %s: %w", i.pod.Name, err)
	}
	if target.PodReady(pod) {
		d.ready = time.Now()
	}
	log, err := i.log(ctx, i.target.Container)
	if err != nil {
		return err
	}
	d.answered, d.refused = lastCounts(log)
	if !d.noSidecar {
		if d.sidecar, err = i.log(ctx, i.target.SidecarContainer); err != nil {
			return err
		}
	}
	return nil
}

func (i *impostor) log(ctx context.Context, container string) (string, error) {
	stream, err := i.target.Client.CoreV1().Pods(i.target.Namespace).GetLogs(i.pod.Name, &corev1.PodLogOptions{Container: container}).Stream(ctx)
	if err != nil {
		return "", fmt.Errorf("opening the log of container %s in pod %s: %w", container, i.pod.Name, err)
	}
	defer stream.Close()
	text, err := io.ReadAll(io.LimitReader(stream, maxLog))
	if err != nil {
		return "", fmt.Errorf("reading the log of container %s in pod %s: %w", container, i.pod.Name, err)
	}
	return string(text), nil
}

// lastCounts reads the last counts in the impostor's log, which has other lines too.
func lastCounts(log string) (answered, refused int) {
	for line := range strings.Lines(log) {
		var counts struct{ Answered, Refused *int }
		if json.Unmarshal([]byte(line), &counts) == nil && counts.Answered != nil && counts.Refused != nil {
			answered, refused = *counts.Answered, *counts.Refused
		}
	}
	return answered, refused
}

// remove deletes the pod.
func (i *impostor) remove(ctx context.Context) error {
	err := i.target.Client.CoreV1().Pods(i.target.Namespace).Delete(ctx, i.pod.Name, metav1.DeleteOptions{})
	if err != nil && !apierrors.IsNotFound(err) {
		return fmt.Errorf("deleting the impostor's pod %s/%s: %w", i.target.Namespace, i.pod.Name, err)
	}
	return nil
}

package bootstrap

import (
	"context"
	"errors"
	"fmt"
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
	"github.com/vaultproof/vaultproof/pkg/custody"
	"github.com/vaultproof/vaultproof/pkg/target"
)

const (
	// twinStart is how long the containers of a twin may take to run: its images
	// are on the nodes already.
	twinStart = 90 * time.Second
	// twinEnd is how long it may take to be gone.
	twinEnd = 30 * time.Second
	// instanceLabel keeps Services, the disruption budget and the StatefulSet
	// apart from a twin, which lacks it. Network policies do not ask for it.
	instanceLabel = "app.kubernetes.io/instance"
)

// twin is a pod of this run made from the target's own pod template: the same
// images, arguments and certificates, but empty storage, no peers, and secrets of
// its own in custody. What a first start does can be seen by it, beside a Vault
// that has data. No client and no peer ever meets it.
type twin struct {
	target *target.Target
	pod    *corev1.Pod
	// prefix of its secrets in custody, and that of all twins of this run.
	prefix, run string
	erase       eraser
}

// eraser is the part of custody that removes what a twin left there.
type eraser interface {
	Delete(ctx context.Context, id string) error
}

// twins begins the names of the secrets of all twins of a Vault.
func twins(t *target.Target) string { return t.CustodyPrefix + "-twin-" }

// twinPrefix begins the names of the secrets of a check's twin. Other checks may have
// twins at the same time.
func twinPrefix(r *conformance.Case) string {
	return twins(r.Target) + r.ID + "-" + strings.ToLower(r.Check.ID)
}

// startTwin makes a twin, changed by edit, and waits until its containers run. It is
// removed when the check is over.
func startTwin(ctx context.Context, r *conformance.Case, edit func(*corev1.PodSpec)) (*twin, error) {
	if r.Target.SidecarContainer == "" {
		return nil, r.Skip("the pods of StatefulSet %s have no bootstrap container", r.Target.StatefulSet)
	}
	tw := &twin{target: r.Target, prefix: twinPrefix(r), run: twins(r.Target) + r.ID + "-"}
	if err := tw.mayErase(ctx, r); err != nil {
		return nil, err
	}
	template, err := r.Target.Template(ctx)
	if err != nil {
		return nil, r.CannotTell(err)
	}
	tw.pod = tw.manifest(template, "vaultproof-"+strings.ToLower(r.Check.ID)+"-"+r.ID, r.ID)
	edit(&tw.pod.Spec)
	if err := tw.metByNobody(ctx); err != nil {
		return nil, r.Inconclusive("%w", err)
	}
	configs, err := tw.configs(ctx)
	if err != nil {
		return nil, r.Inconclusive("%w", err)
	}
	r.Defer(tw.remove)
	if err := tw.create(ctx, configs); err != nil {
		return nil, r.CannotTell(err)
	}
	return tw, r.CannotTell(tw.awaitRunning(ctx))
}

// mayErase makes sure, before anything is written, that it can be removed again.
func (tw *twin) mayErase(ctx context.Context, r *conformance.Case) error {
	if tw.target.Custody == nil {
		return r.CannotTell(fmt.Errorf("%w: %s", target.ErrNoCustody, tw.target.CustodyReason))
	}
	var can bool
	if tw.erase, can = tw.target.Custody.(eraser); !can {
		return r.Skip("this custody cannot delete secrets, so a twin would leave its own behind")
	}
	switch err := tw.erase.Delete(ctx, tw.prefix+"-none"); {
	case err == nil, errors.Is(err, custody.ErrNotFound):
		return nil
	case errors.Is(err, custody.ErrDenied):
		return r.Skip("a twin of a Vault pod would leave its secrets in custody: let service account %s/%s delete secrets that begin with %s-twin- (%v)",
			target.SystemNamespace, target.RunnerAccount, tw.target.CustodyPrefix, err)
	default:
		return r.CannotTell(err)
	}
}

// manifest is the pod. Its name ends in ordinal 0, the only one that initialises.
func (tw *twin) manifest(template corev1.PodTemplateSpec, name, run string) *corev1.Pod {
	marks := maps.Clone(template.Labels)
	delete(marks, instanceLabel)
	marks[target.ManagedBy], marks[target.RunLabel] = target.ManagedByValue, run
	spec := template.Spec.DeepCopy()
	// It may be beside another Vault, and must not displace anybody.
	spec.Affinity, spec.TopologySpreadConstraints, spec.PriorityClassName = nil, nil, ""
	grace := int64(1)
	spec.TerminationGracePeriodSeconds = &grace
	for _, volume := range target.Unclaimed(*spec) {
		spec.Volumes = append(spec.Volumes, corev1.Volume{Name: volume, VolumeSource: corev1.VolumeSource{EmptyDir: &corev1.EmptyDirVolumeSource{}}})
	}
	for i := range spec.InitContainers { // where a sidecar may be too
		tw.settle(&spec.InitContainers[i])
	}
	for i := range spec.Containers {
		tw.settle(&spec.Containers[i])
	}
	return &corev1.Pod{
		ObjectMeta: metav1.ObjectMeta{Name: name + "-0", Namespace: tw.target.Namespace, Labels: marks, Annotations: maps.Clone(template.Annotations)},
		Spec:       *spec,
	}
}

// settle makes a container one of a Vault that is alone.
func (tw *twin) settle(c *corev1.Container) {
	switch c.Name {
	case tw.target.Container:
		// The only server of its cluster needs no name that others resolve.
		setEnv(c, "VAULT_API_ADDR", "https://127.0.0.1:8200")
		setEnv(c, "VAULT_CLUSTER_ADDR", "https://127.0.0.1:8201")
	case tw.target.SidecarContainer:
		c.Args = without(without(without(without(c.Args, "peers"), "fence"), "custody-prefix"), "snapshot-url")
		setEnv(c, "PEERS", "")
		setEnv(c, "SNAPSHOT_URL", "") // a restore would take the twin's for the latest of the real Vault
		setEnv(c, "FENCE", "false")   // the labels of the real pods are none of its business
		setEnv(c, "CUSTODY_PREFIX", tw.prefix)
	}
}

// setEnv sets a variable, in place of whatever it came from.
func setEnv(c *corev1.Container, name, value string) {
	c.Env = slices.DeleteFunc(c.Env, func(e corev1.EnvVar) bool { return e.Name == name })
	c.Env = append(c.Env, corev1.EnvVar{Name: name, Value: value})
}

// without drops a flag, with its value if that is an argument of its own.
func without(args []string, name string) []string {
	var kept []string
	for i := 0; i < len(args); i++ {
		flag, _, joined := strings.Cut(strings.TrimLeft(args[i], "-"), "=")
		if !strings.HasPrefix(args[i], "-") || flag != name {
			kept = append(kept, args[i])
			continue
		}
		if !joined && i+1 < len(args) && !strings.HasPrefix(args[i+1], "-") {
			i++
		}
	}
	return kept
}

// metByNobody refuses a twin that clients, peers or the StatefulSet would take for
// one of theirs.
func (tw *twin) metByNobody(ctx context.Context) error {
	services, err := tw.target.Client.CoreV1().Services(tw.target.Namespace).List(ctx, metav1.ListOptions{})
	if err != nil {
		return fmt.Errorf("listing the Services that may select a twin: %w", err)
	}
	return strange(labels.Set(tw.pod.Labels), services.Items, tw.target.Selector)
}

// strange judges the labels of a twin.
func strange(twin labels.Set, services []corev1.Service, own labels.Selector) error {
	if own.Matches(twin) {
		return fmt.Errorf("a twin would be taken for a pod of the StatefulSet, which selects %s without %s", own, instanceLabel)
	}
	for _, s := range services {
		// The active label is Vault's to set.
		selector := labels.Set(maps.Clone(s.Spec.Selector))
		delete(selector, target.ActiveLabel)
		if len(selector) > 0 && labels.SelectorFromSet(selector).Matches(twin) {
			return fmt.Errorf("a twin would be an endpoint of Service %s, which selects %s without %s", s.Name, selector, instanceLabel)
		}
	}
	return nil
}

// create makes the pod, then its configuration, which belongs to the pod: whoever
// deletes that deletes all. The kubelet waits for it.
func (tw *twin) create(ctx context.Context, configs []corev1.ConfigMap) error {
	core := tw.target.Client.CoreV1()
	made, err := core.Pods(tw.target.Namespace).Create(ctx, tw.pod, metav1.CreateOptions{})
	if err != nil {
		return fmt.Errorf("creating the twin pod %s/%s: %w", tw.target.Namespace, tw.pod.Name, err)
	}
	for _, config := range configs {
		config.Labels = map[string]string{target.ManagedBy: target.ManagedByValue, target.RunLabel: tw.pod.Labels[target.RunLabel]}
		config.OwnerReferences = []metav1.OwnerReference{{APIVersion: "v1", Kind: "Pod", Name: made.Name, UID: made.UID}}
		if _, err := core.ConfigMaps(tw.target.Namespace).Create(ctx, &config, metav1.CreateOptions{}); err != nil {
			return fmt.Errorf("creating ConfigMap %s/%s for the twin pod: %w", tw.target.Namespace, config.Name, err)
		}
	}
	return nil
}

// awaitRunning waits until every container of the twin was started.
func (tw *twin) awaitRunning(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, twinStart)
	defer cancel()
	seen := "it was not looked at"
	err := wait.PollUntilContextCancel(ctx, 250*time.Millisecond, true, func(ctx context.Context) (bool, error) {
		pod, err := tw.target.Client.CoreV1().Pods(tw.target.Namespace).Get(ctx, tw.pod.Name, metav1.GetOptions{})
		if err != nil {
			if ctx.Err() == nil {
				seen = err.Error()
			}
			return false, nil // the deadline decides
		}
		var running bool
		running, seen = allRunning(pod)
		return running, nil
	})
	if err != nil {
		return fmt.Errorf("the twin pod %s does not run %s after it was created: %s", tw.pod.Name, twinStart, seen)
	}
	return nil
}

// allRunning tells whether all containers run, and else what keeps one.
func allRunning(pod *corev1.Pod) (running bool, why string) {
	for _, c := range pod.Status.Conditions {
		if c.Type == corev1.PodScheduled && c.Status == corev1.ConditionFalse {
			return false, "no node takes it: " + c.Message
		}
	}
	started := 0
	for _, c := range pod.Status.ContainerStatuses {
		switch {
		case c.State.Running != nil:
			started++
		case c.State.Waiting != nil:
			why = fmt.Sprintf("container %s waits: %s %s", c.Name, c.State.Waiting.Reason, c.State.Waiting.Message)
		case c.State.Terminated != nil:
			why = fmt.Sprintf("container %s ended with exit code %d", c.Name, c.State.Terminated.ExitCode)
		}
	}
	return started == len(pod.Spec.Containers), why
}

// remove deletes the pod, waits until nothing of it runs, and then deletes what it, or
// a twin of a run that died, has in custody.
func (tw *twin) remove(ctx context.Context) error {
	pods := tw.target.Client.CoreV1().Pods(tw.target.Namespace)
	if err := pods.Delete(ctx, tw.pod.Name, metav1.DeleteOptions{}); err != nil && !apierrors.IsNotFound(err) {
		return fmt.Errorf("deleting the twin pod %s/%s: %w", tw.target.Namespace, tw.pod.Name, err)
	}
	gone, cancel := context.WithTimeout(ctx, twinEnd)
	defer cancel()
	err := wait.PollUntilContextCancel(gone, 250*time.Millisecond, true, func(ctx context.Context) (bool, error) {
		_, err := pods.Get(ctx, tw.pod.Name, metav1.GetOptions{})
		return apierrors.IsNotFound(err), nil
	})
	if err != nil {
		return fmt.Errorf("the twin pod %s/%s is not gone %s after it was deleted", tw.target.Namespace, tw.pod.Name, twinEnd)
	}
	names, err := tw.target.CustodySecrets(ctx)
	if err != nil {
		return err
	}
	for _, name := range names {
		// What a run that died left goes too; what other twins of this run have is in use.
		ours, others := strings.HasPrefix(name, tw.prefix+"-"), strings.HasPrefix(name, tw.run)
		if !strings.HasPrefix(name, twins(tw.target)) || others && !ours {
			continue
		}
		if err := tw.erase.Delete(ctx, name); err != nil && !errors.Is(err, custody.ErrNotFound) {
			return fmt.Errorf("deleting the twin's secret: %w", err)
		}
	}
	return nil
}

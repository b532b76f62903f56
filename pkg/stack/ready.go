package stack

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"time"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/wait"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"

	"github.com/vaultproof/vaultproof/pkg/custody"
	"github.com/vaultproof/vaultproof/pkg/kube"
)

// readyPoll is how often the pods are looked at while waiting.
const readyPoll = 500 * time.Millisecond

// Labels that Vault's service registration sets on its own pod.
const (
	labelActive      = "vault-active"
	labelSealed      = "vault-sealed"
	labelInitialized = "vault-initialized"
)

// Ready waits until the stack can be certified: three pods of the current revision,
// initialised, unsealed and ready, exactly one of them active, and, where a Store is
// given, a provisioner token in custody and three voters. It logs what it waits for
// whenever that changes. When Options.Timeout has passed, the error says which pod is
// in which state, and why.
func Ready(ctx context.Context, config *rest.Config, opts Options) error {
	opts, err := opts.withDefaults()
	if err != nil {
		return err
	}
	client, err := kubernetes.NewForConfig(kube.Fast(config))
	if err != nil {
		return fmt.Errorf("making a Kubernetes client: %w", err)
	}
	w := &waiter{client: client, opts: opts}
	if opts.Store != nil {
		w.voters = voterCount(config, client, opts)
	}
	return w.wait(ctx)
}

type waiter struct {
	client kubernetes.Interface
	opts   Options
	// voters counts the members of the raft cluster that vote; nil: not asked.
	voters func(ctx context.Context, pod string) (int, error)
}

func (w *waiter) wait(ctx context.Context) error {
	start := time.Now()
	limited, cancel := context.WithTimeout(ctx, w.opts.Timeout)
	defer cancel()
	var last error
	err := wait.PollUntilContextCancel(limited, readyPoll, true, func(ctx context.Context) (bool, error) {
		missing := w.missing(ctx)
		if missing == nil {
			return true, nil
		}
		// What a look says that the deadline cut short is not the reason, unless there was
		// no other look.
		if last == nil || ctx.Err() == nil && missing.Error() != last.Error() {
			slog.Info("waiting for the stack", "for", missing.Error(), "since", time.Since(start).Round(100*time.Millisecond))
			last = missing
		}
		return false, nil
	})
	if err == nil {
		slog.Info("stack is ready", "namespace", w.opts.Namespace, "took", time.Since(start).Round(100*time.Millisecond))
		return nil
	}
	if ctx.Err() != nil {
		return fmt.Errorf("waiting for the stack was interrupted (%w) while %w", context.Cause(ctx), last)
	}
	// The deadline was ours; what follows needs a moment more to find out why.
	detail, cancelDetail := context.WithTimeout(ctx, 10*time.Second)
	defer cancelDetail()
	return fmt.Errorf("the stack in namespace %s is not ready after %s: %w%s", w.opts.Namespace, w.opts.Timeout, last, diagnose(detail, w.client, w.opts.Namespace))
}

// missing says what the stack still lacks; nil when it is ready.
func (w *waiter) missing(ctx context.Context) error {
	set, err := w.client.AppsV1().StatefulSets(w.opts.Namespace).Get(ctx, statefulSetName, metav1.GetOptions{})
	if err != nil {
		return fmt.Errorf("StatefulSet %s/%s cannot be read: %w", w.opts.Namespace, statefulSetName, err)
	}
	pods, err := w.client.CoreV1().Pods(w.opts.Namespace).List(ctx, metav1.ListOptions{LabelSelector: podSelector})
	if err != nil {
		return fmt.Errorf("the pods of namespace %s cannot be listed: %w", w.opts.Namespace, err)
	}
	active, err := assess(set, pods.Items)
	if err != nil {
		return err
	}
	if w.opts.Store == nil {
		return nil
	}
	if err := hasProvisionerToken(ctx, w.opts.Store, w.opts.Custody.Prefix); err != nil {
		return err
	}
	if w.voters == nil {
		return nil
	}
	voters, err := w.voters(ctx, active)
	if err != nil {
		return fmt.Errorf("the voters cannot be counted: %w", err)
	}
	if voters != Pods {
		return fmt.Errorf("raft has %d voters, want %d", voters, Pods)
	}
	return nil
}

// assess judges the pods by what Kubernetes and Vault's own labels say, and returns
// the name of the active one.
func assess(set *appsv1.StatefulSet, pods []corev1.Pod) (active string, err error) {
	byName := map[string]*corev1.Pod{}
	for i := range pods {
		byName[pods[i].Name] = &pods[i]
	}
	var states, actives []string
	for i := range Pods {
		name := fmt.Sprintf("%s-%d", statefulSetName, i)
		pod := byName[name]
		if state := podState(pod, set.Status.UpdateRevision); state != "" {
			states = append(states, name+" is "+state)
		}
		if pod != nil && pod.Labels[labelActive] == "true" {
			actives = append(actives, name)
		}
	}
	switch {
	case len(states) > 0:
		return "", errors.New(strings.Join(states, ", "))
	case len(actives) == 0:
		return "", errors.New("no pod is active")
	case len(actives) > 1:
		return "", fmt.Errorf("more than one pod is labelled active: %s", strings.Join(actives, ", "))
	case set.Status.ObservedGeneration < set.Generation:
		return "", errors.New("the StatefulSet controller has not seen the change yet")
	}
	return actives[0], nil
}

// podState says what is wrong with a pod in a few words; empty if nothing is.
func podState(pod *corev1.Pod, revision string) string {
	switch {
	case pod == nil:
		return "missing"
	case pod.DeletionTimestamp != nil:
		return "terminating"
	case revision != "" && pod.Labels[appsv1.ControllerRevisionHashLabelKey] != revision:
		return "of an older revision"
	case pod.Status.Phase == corev1.PodPending && !condition(pod, corev1.PodScheduled):
		return "unscheduled"
	case pod.Status.Phase == corev1.PodPending:
		return "starting"
	}
	for _, c := range pod.Status.ContainerStatuses {
		if c.State.Running == nil {
			return "without a running container " + c.Name
		}
	}
	switch {
	case pod.Labels[labelInitialized] == "":
		return "without Vault's labels"
	case pod.Labels[labelInitialized] != "true":
		return "not initialised"
	case pod.Labels[labelSealed] != "false":
		return "sealed"
	case !condition(pod, corev1.PodReady):
		return "unsealed but not ready"
	}
	return ""
}

func condition(pod *corev1.Pod, kind corev1.PodConditionType) bool {
	for _, c := range pod.Status.Conditions {
		if c.Type == kind {
			return c.Status == corev1.ConditionTrue
		}
	}
	return false
}

// hasProvisionerToken looks for an enabled version, without reading it.
func hasProvisionerToken(ctx context.Context, store custody.Store, prefix string) error {
	id := prefix + "-provisioner-token"
	versions, err := store.Versions(ctx, id)
	if errors.Is(err, custody.ErrNotFound) {
		return fmt.Errorf("custody has no secret %s yet", id)
	}
	if err != nil {
		return fmt.Errorf("custody does not say whether it has the secret %s: %w", id, err)
	}
	for _, version := range versions {
		if version.State == custody.Enabled {
			return nil
		}
	}
	return fmt.Errorf("custody has no enabled version of the secret %s", id)
}

package target

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// stateTimeout bounds the questions to one pod, so that a dead one does not
// hold up the picture of the others.
const stateTimeout = 5 * time.Second

// PodState is what one Vault pod says of itself, beside what Kubernetes says.
type PodState struct {
	Pod         corev1.Pod
	Zone        string
	Initialized bool
	Sealed      bool
	// IsSelf is sys/leader's is_self: this pod holds the active lock.
	IsSelf    bool
	ClusterID string
	Version   string
	// Err is set if the pod did not answer; the fields above are then empty.
	Err error
}

// Ready is Kubernetes' word on the pod.
func (s PodState) Ready() bool { return PodReady(&s.Pod) }

// Unsealed is true if the pod answered and is initialised and not sealed.
func (s PodState) Unsealed() bool { return s.Err == nil && s.Initialized && !s.Sealed }

// PodReady tells whether a pod is Ready and not being deleted.
func PodReady(pod *corev1.Pod) bool {
	if pod.DeletionTimestamp != nil {
		return false
	}
	for _, c := range pod.Status.Conditions {
		if c.Type == corev1.PodReady {
			return c.Status == corev1.ConditionTrue
		}
	}
	return false
}

// Pods lists the Vault pods by name. Run-scoped pods of ours that bear the same
// labels on purpose (a twin for the anti-affinity check) are left out.
func (t *Target) Pods(ctx context.Context) ([]corev1.Pod, error) {
	list, err := t.Client.CoreV1().Pods(t.Namespace).List(ctx, metav1.ListOptions{LabelSelector: t.Selector.String()})
	if err != nil {
		return nil, fmt.Errorf("listing the Vault pods in namespace %s: %w", t.Namespace, err)
	}
	pods := slices.DeleteFunc(list.Items, func(p corev1.Pod) bool { return p.Labels[RunLabel] != "" })
	slices.SortFunc(pods, func(a, b corev1.Pod) int { return cmp.Compare(a.Name, b.Name) })
	return pods, nil
}

// Nodes lists the nodes of the cluster.
func (t *Target) Nodes(ctx context.Context) ([]corev1.Node, error) {
	nodes, err := t.Client.CoreV1().Nodes().List(ctx, metav1.ListOptions{})
	if err != nil {
		return nil, fmt.Errorf("listing the nodes of the cluster: %w", err)
	}
	return nodes.Items, nil
}

// Zones maps node names to their zones.
func (t *Target) Zones(ctx context.Context) (map[string]string, error) {
	nodes, err := t.Nodes(ctx)
	if err != nil {
		return nil, err
	}
	zones := make(map[string]string, len(nodes))
	for _, n := range nodes {
		zones[n.Name] = n.Labels[ZoneLabel]
	}
	return zones, nil
}

// State asks every Vault pod for its state, all at once. A pod that does not
// answer has Err set; the error returned is for what makes the whole picture
// impossible.
func (t *Target) State(ctx context.Context) ([]PodState, error) {
	pods, err := t.Pods(ctx)
	if err != nil {
		return nil, err
	}
	zones, err := t.Zones(ctx)
	if err != nil {
		return nil, err
	}
	states := make([]PodState, len(pods))
	var wait sync.WaitGroup
	for i := range pods {
		wait.Go(func() {
			states[i] = t.podState(ctx, pods[i])
			states[i].Zone = zones[pods[i].Spec.NodeName]
		})
	}
	wait.Wait()
	return states, nil
}

func (t *Target) podState(ctx context.Context, pod corev1.Pod) PodState {
	state := PodState{Pod: pod}
	ctx, cancel := context.WithTimeout(ctx, stateTimeout)
	defer cancel()
	client, closeClient, err := t.Pod(ctx, pod.Name)
	if err != nil {
		state.Err = err
		return state
	}
	defer closeClient()
	health, err := client.Sys().HealthWithContext(ctx)
	if err != nil {
		state.Err = fmt.Errorf("asking %s for sys/health: %w", pod.Name, err)
		return state
	}
	state.Initialized, state.Sealed = health.Initialized, health.Sealed
	state.ClusterID, state.Version = health.ClusterID, health.Version
	if health.Sealed {
		return state // sys/leader answers 503 on a sealed pod
	}
	leader, err := client.Sys().LeaderWithContext(ctx)
	if err != nil {
		state.Err = fmt.Errorf("asking %s for sys/leader: %w", pod.Name, err)
		return state
	}
	state.IsSelf = leader.IsSelf
	return state
}

// ErrNoActive is returned by Active if no pod, or more than one, says that it is
// the active one.
var ErrNoActive = errors.New("there is not exactly one active Vault pod")

// Active returns the pod whose own sys/leader says is_self.
func (t *Target) Active(ctx context.Context) (PodState, error) {
	states, err := t.State(ctx)
	if err != nil {
		return PodState{}, err
	}
	return OnlyActive(states)
}

// OnlyActive picks the one active pod of states.
func OnlyActive(states []PodState) (PodState, error) {
	var active []PodState
	var names []string
	for _, s := range states {
		if s.Err == nil && s.IsSelf {
			active = append(active, s)
			names = append(names, s.Pod.Name)
		}
	}
	if len(active) != 1 {
		return PodState{}, fmt.Errorf("%w: sys/leader says is_self on %d of %d pods %v", ErrNoActive, len(active), len(states), names)
	}
	return active[0], nil
}

// Whole returns nil if all replicas are there, Ready and unsealed, with exactly
// one active among them; else it says what is missing.
func (t *Target) Whole(states []PodState) error {
	if len(states) != t.Replicas {
		return fmt.Errorf("%d of %d Vault pods exist", len(states), t.Replicas)
	}
	for _, s := range states {
		switch {
		case s.Err != nil:
			return fmt.Errorf("pod %s does not answer: %w", s.Pod.Name, s.Err)
		case !s.Initialized:
			return fmt.Errorf("pod %s is not initialised", s.Pod.Name)
		case s.Sealed:
			return fmt.Errorf("pod %s is sealed", s.Pod.Name)
		case !s.Ready():
			return fmt.Errorf("pod %s is not Ready", s.Pod.Name)
		}
	}
	_, err := OnlyActive(states)
	return err
}

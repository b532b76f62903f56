package fault

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/chaos-mesh/chaos-mesh/api/v1alpha1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// Labels by which the parts of Chaos Mesh are known.
const (
	chaosPartLabel       = "app.kubernetes.io/part-of"
	chaosPartValue       = "chaos-mesh"
	chaosComponentLabel  = "app.kubernetes.io/component"
	chaosControllerValue = "controller-manager"
)

// zoneLabel is the standard node label of a zone.
const zoneLabel = "topology.kubernetes.io/zone"

// ZoneLoss cuts every pod in a zone off from everything: peers, clients, custody, DNS,
// the API server, and the kubelet's probes. Pods with the address of their node are
// left alone, or nobody could end it, and so are those of Chaos Mesh.
type ZoneLoss struct {
	Env  *Env
	Zone string
	// Duration after which the zone comes back by itself, in whole seconds.
	Duration time.Duration
}

// Kind is zone-loss.
func (f *ZoneLoss) Kind() string { return "zone-loss" }

// Target is the zone.
func (f *ZoneLoss) Target() string { return f.Zone }

// Inject finds all pods on the nodes that bear the zone's label, and cuts them off.
func (f *ZoneLoss) Inject(ctx context.Context) (Injected, error) {
	pods, err := f.pods(ctx)
	if err != nil {
		return nil, err
	}
	lost, err := f.doomed(pods)
	if err != nil {
		return nil, err
	}
	duration := f.Duration.Truncate(time.Second).String()
	cut, err := f.Env.isolate(ctx, &v1alpha1.NetworkChaos{
		ObjectMeta: f.Env.objectMeta("loss", f.Zone),
		Spec: v1alpha1.NetworkChaosSpec{
			PodSelector: v1alpha1.PodSelector{Mode: v1alpha1.AllMode, Selector: v1alpha1.PodSelectorSpec{Pods: lost}},
			Action:      v1alpha1.PartitionAction, // from everything, because no target is named
			Direction:   v1alpha1.Both,
			Duration:    &duration,
		},
	}, lost[f.Env.Namespace])
	if err != nil {
		return nil, err
	}
	return cut, nil
}

// pods are all that are on nodes of the zone.
func (f *ZoneLoss) pods(ctx context.Context) ([]corev1.Pod, error) {
	nodes, err := f.Env.Client.CoreV1().Nodes().List(ctx, metav1.ListOptions{LabelSelector: zoneLabel + "=" + f.Zone})
	if err != nil {
		return nil, fmt.Errorf("listing the nodes of zone %s: %w", f.Zone, err)
	}
	var pods []corev1.Pod
	for _, n := range nodes.Items {
		list, err := f.Env.Client.CoreV1().Pods("").List(ctx, metav1.ListOptions{FieldSelector: "spec.nodeName=" + n.Name})
		if err != nil {
			return nil, fmt.Errorf("listing the pods on node %s of zone %s: %w", n.Name, f.Zone, err)
		}
		pods = append(pods, list.Items...)
	}
	return pods, nil
}

// doomed picks the pods to cut off, by namespace. What observes the fault, and what
// must end it, may not be among them.
func (f *ZoneLoss) doomed(pods []corev1.Pod) (map[string][]string, error) {
	lost := map[string][]string{}
	for _, p := range pods {
		name := p.Namespace + "/" + p.Name
		chaos := p.Labels[chaosPartLabel] == chaosPartValue
		if chaos && p.Labels[chaosComponentLabel] == chaosControllerValue {
			return nil, fmt.Errorf("%w: Chaos Mesh's controller %s, which must end it, is in zone %s; place it elsewhere", ErrUnavailable, name, f.Zone)
		}
		if p.Labels[runLabel] == f.Env.RunID {
			return nil, fmt.Errorf("%w: pod %s of this run, which observes, is in zone %s; give Vault nodes of its own", ErrUnavailable, name, f.Zone)
		}
		over := p.Status.Phase == corev1.PodSucceeded || p.Status.Phase == corev1.PodFailed
		if over || chaos || p.Spec.HostNetwork {
			continue
		}
		lost[p.Namespace] = append(lost[p.Namespace], p.Name)
	}
	if len(lost[f.Env.Namespace]) == 0 {
		return nil, fmt.Errorf("%w: there is no pod of namespace %s on a node with %s=%s (other namespaces there: %s)", ErrUnavailable,
			f.Env.Namespace, zoneLabel, f.Zone, strings.Join(slices.Sorted(maps.Keys(lost)), ", "))
	}
	return lost, nil
}

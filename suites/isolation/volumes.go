package isolation

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/selection"

	"github.com/vaultproof/vaultproof/pkg/target"
)

// held is a volume and the pod that has it.
type held struct {
	pod    corev1.Pod
	volume corev1.PersistentVolume
}

// volumesOf reads the volumes behind the claims of the pods.
func volumesOf(ctx context.Context, t *target.Target, pods []corev1.Pod) ([]held, error) {
	var all []held
	for _, p := range pods {
		for _, v := range p.Spec.Volumes {
			if v.PersistentVolumeClaim == nil {
				continue
			}
			claim, err := t.Client.CoreV1().PersistentVolumeClaims(t.Namespace).Get(ctx, v.PersistentVolumeClaim.ClaimName, metav1.GetOptions{})
			if err != nil {
				return nil, fmt.Errorf("reading PersistentVolumeClaim %s/%s of pod %s: %w", t.Namespace, v.PersistentVolumeClaim.ClaimName, p.Name, err)
			}
			volume, err := t.Client.CoreV1().PersistentVolumes().Get(ctx, claim.Spec.VolumeName, metav1.GetOptions{})
			if err != nil {
				return nil, fmt.Errorf("reading PersistentVolume %q of pod %s: %w", claim.Spec.VolumeName, p.Name, err)
			}
			all = append(all, held{p, *volume})
		}
	}
	return all, nil
}

// inZoneOfPod judges where the volumes can be used: nowhere but in the zone of the pod.
// One that names no node at all is of the network, and has no zone.
func inZoneOfPod(volumes []held, nodes []corev1.Node) error {
	if len(volumes) == 0 {
		return errors.New("the Vault pods have no persistent volume, want each to find its data again in its zone")
	}
	for _, h := range volumes {
		zones, bound, err := zonesOfVolume(h.volume, nodes)
		if err != nil {
			return err
		}
		if !bound {
			continue
		}
		want := zoneOf(h.pod.Spec.NodeName, nodes)
		if !slices.Equal(zones, []string{want}) {
			return fmt.Errorf("volume %s of pod %s (since %s) can be used in zones [%s], but the pod is on node %s in zone %s; want the same zone, or the pod may come back elsewhere, or nowhere",
				h.volume.Name, h.pod.Name, h.volume.CreationTimestamp.UTC().Format(time.RFC3339), strings.Join(zones, ", "), h.pod.Spec.NodeName, want)
		}
	}
	return nil
}

// zonesOfVolume are the zones of the nodes that a volume's affinity admits; bound is
// false if it has none.
func zonesOfVolume(v corev1.PersistentVolume, nodes []corev1.Node) (zones []string, bound bool, err error) {
	if v.Spec.NodeAffinity == nil || v.Spec.NodeAffinity.Required == nil {
		return nil, false, nil
	}
	found := map[string]bool{}
	for _, n := range nodes {
		admitted, err := admits(*v.Spec.NodeAffinity.Required, n)
		if err != nil {
			return nil, false, fmt.Errorf("reading the node affinity of volume %s: %w", v.Name, err)
		}
		if admitted {
			found[n.Labels[target.ZoneLabel]] = true
		}
	}
	return slices.Sorted(maps.Keys(found)), true, nil
}

// operators are those of node selectors in terms of label selectors.
var operators = map[corev1.NodeSelectorOperator]selection.Operator{
	corev1.NodeSelectorOpIn: selection.In, corev1.NodeSelectorOpNotIn: selection.NotIn,
	corev1.NodeSelectorOpExists: selection.Exists, corev1.NodeSelectorOpDoesNotExist: selection.DoesNotExist,
	corev1.NodeSelectorOpGt: selection.GreaterThan, corev1.NodeSelectorOpLt: selection.LessThan,
}

// admits tells whether a node satisfies one of the terms.
func admits(selector corev1.NodeSelector, n corev1.Node) (bool, error) {
	for _, term := range selector.NodeSelectorTerms {
		all := len(term.MatchExpressions)+len(term.MatchFields) > 0
		for _, e := range term.MatchExpressions {
			demand, err := labels.NewRequirement(e.Key, operators[e.Operator], e.Values)
			if err != nil {
				return false, err
			}
			all = all && demand.Matches(labels.Set(n.Labels))
		}
		for _, e := range term.MatchFields { // metadata.name is the only one there is
			all = all && slices.Contains(e.Values, n.Name) == (e.Operator == corev1.NodeSelectorOpIn)
		}
		if all {
			return true, nil
		}
	}
	return false, nil
}

package isolation

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/onsi/ginkgo/v2"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"

	"github.com/vaultproof/vaultproof/pkg/conformance"
	"github.com/vaultproof/vaultproof/pkg/target"
)

var iso03 = conformance.Check{
	ID: "ISO-03", Area: area, Level: conformance.Should, Manner: conformance.Reads,
	Assertion: "the pods are spread over zones, at most one more in one than in another (DoNotSchedule), and each volume is in the zone of its pod, so that a pod comes back there",
	Source:    "vault-helm values.yaml, server.topologySpreadConstraints: empty by default; kubernetes/kubernetes#128832",
	Observe:   "spread constraints of the pod template, zones of the nodes, and the node affinity of the volumes behind the pods' claims",
}

var _ = conformance.It(iso03, conformance.Conformance, func(ctx ginkgo.SpecContext, r *conformance.Case) error {
	pods, err := r.Target.Pods(ctx)
	if err != nil {
		return r.CannotTell(err)
	}
	nodes, err := r.Target.Nodes(ctx)
	if err != nil {
		return r.CannotTell(err)
	}
	template, err := r.Target.Template(ctx)
	if err != nil {
		return r.CannotTell(err)
	}
	eligible := zonesFor(nodes, template.Spec)
	r.Measure("zones_total", float64(len(eligible)))
	if len(eligible) < 2 {
		return r.Skip("the nodes that Vault may use are in %d zones (label %s: %s), so there is nothing to spread over", len(eligible), target.ZoneLabel, strings.Join(eligible, ", "))
	}
	if err := spreads(template); err != nil {
		return err
	}
	if err := spread(pods, nodes, eligible); err != nil {
		return err
	}
	missing, err := r.Target.Missing(ctx, []target.Permission{
		{Verb: "get", Resource: "persistentvolumeclaims", Namespace: r.Target.Namespace}, {Verb: "get", Resource: "persistentvolumes"},
	})
	if err != nil {
		return r.CannotTell(err)
	}
	if len(missing) > 0 {
		return r.Skip("where the volumes are cannot be seen: the user of the kubeconfig may not %s", missing[0])
	}
	volumes, err := volumesOf(ctx, r.Target, pods)
	if err != nil {
		return r.CannotTell(err)
	}
	moved := 0
	for _, v := range volumes {
		if v.pod.CreationTimestamp.Sub(v.volume.CreationTimestamp.Time) > time.Minute {
			moved++
		}
	}
	r.Measure("pods_rescheduled_total", float64(moved))
	return inZoneOfPod(volumes, nodes)
})

// zonesFor are the zones of nodes that the pod template may use, in order. Cordoned nodes
// do not count, as they do not for the scheduler.
func zonesFor(nodes []corev1.Node, spec corev1.PodSpec) []string {
	zones := map[string]bool{}
	for _, n := range nodes {
		if zone := n.Labels[target.ZoneLabel]; zone != "" && !n.Spec.Unschedulable && hasLabels(n.Labels, demandedLabels(spec)) {
			zones[zone] = true
		}
	}
	return slices.Sorted(maps.Keys(zones))
}

// spreads judges the constraint that the scheduler is given.
func spreads(template corev1.PodTemplateSpec) error {
	var seen []string
	for _, c := range template.Spec.TopologySpreadConstraints {
		what := fmt.Sprintf("%s maxSkew=%d %s", c.TopologyKey, c.MaxSkew, c.WhenUnsatisfiable)
		selector, err := metav1.LabelSelectorAsSelector(c.LabelSelector)
		switch {
		case err != nil:
			what += " with a selector that cannot be read"
		case !selector.Matches(labels.Set(template.Labels)):
			what += " for pods other than Vault's"
		case c.TopologyKey == target.ZoneLabel && c.MaxSkew <= 1 && c.WhenUnsatisfiable == corev1.DoNotSchedule:
			return nil
		}
		seen = append(seen, what)
	}
	if len(seen) == 0 {
		seen = []string{"none"}
	}
	return fmt.Errorf("the pod template's topologySpreadConstraints are %s; want one on %s with maxSkew 1 and DoNotSchedule for the Vault pods", strings.Join(seen, ", "), target.ZoneLabel)
}

// spread judges where the pods are now.
func spread(pods []corev1.Pod, nodes []corev1.Node, eligible []string) error {
	if len(pods) == 0 {
		return errors.New("there is no Vault pod")
	}
	in := map[string][]string{}
	for _, z := range eligible {
		in[z] = nil
	}
	for _, p := range pods {
		zone := zoneOf(p.Spec.NodeName, nodes)
		if zone == "" {
			return fmt.Errorf("Vault pod %s is on node %q, which is in no zone (label %s)", p.Name, p.Spec.NodeName, target.ZoneLabel)
		}
		in[zone] = append(in[zone], p.Name)
	}
	most, least := 0, len(pods)
	var words []string
	for _, z := range slices.Sorted(maps.Keys(in)) {
		most, least = max(most, len(in[z])), min(least, len(in[z]))
		words = append(words, fmt.Sprintf("%s has %d (%s)", z, len(in[z]), strings.Join(in[z], ", ")))
	}
	if most-least > 1 {
		return fmt.Errorf("the Vault pods are spread unevenly: zone %s; want at most 1 more in one zone than in another", strings.Join(words, ", "))
	}
	return nil
}

func zoneOf(node string, nodes []corev1.Node) string {
	for _, n := range nodes {
		if n.Name == node {
			return n.Labels[target.ZoneLabel]
		}
	}
	return ""
}

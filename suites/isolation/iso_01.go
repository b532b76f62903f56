package isolation

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/onsi/ginkgo/v2"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/vaultproof/vaultproof/pkg/conformance"
	"github.com/vaultproof/vaultproof/pkg/target"
)

var iso01 = conformance.Check{
	ID: "ISO-01", Area: area, Level: conformance.Must, Manner: conformance.Reads,
	Assertion: "all Vault pods are on pool nodes (a label with a NoSchedule taint), and no foreign pod but DaemonSets' is there",
	Source:    "HashiCorp production hardening, single tenancy; Vault on Kubernetes, production checklist",
	Observe:   "nodes and their taints, pods of all namespaces by node, and the node selector of the Vault pods",
}

var _ = conformance.It(iso01, conformance.Conformance, func(ctx ginkgo.SpecContext, r *conformance.Case) error {
	vault, err := r.Target.Pods(ctx)
	if err != nil {
		return r.CannotTell(err)
	}
	nodes, err := r.Target.Nodes(ctx)
	if err != nil {
		return r.CannotTell(err)
	}
	all, err := r.Target.Client.CoreV1().Pods("").List(ctx, metav1.ListOptions{})
	if err != nil {
		return r.CannotTell(fmt.Errorf("listing the pods of all namespaces: %w", err))
	}
	template, err := r.Target.Template(ctx)
	if err != nil {
		return r.CannotTell(err)
	}
	pool, err := poolNodes(nodes, template.Spec)
	if err != nil {
		return err
	}
	r.Measure("pool_nodes_total", float64(len(pool)))
	if err := onlyOnPool(vault, pool); err != nil {
		return err
	}
	return noForeigners(vault, all.Items, pool)
})

// poolNodes are the nodes that the pod template demands by label, and that keep
// others off by a NoSchedule taint.
func poolNodes(nodes []corev1.Node, spec corev1.PodSpec) (map[string]bool, error) {
	demanded := demandedLabels(spec)
	if len(demanded) == 0 {
		return nil, errors.New("the Vault pods demand no node label (nodeSelector or required node affinity), want them bound to a pool of their own")
	}
	pool := map[string]bool{}
	for _, n := range nodes {
		if !hasLabels(n.Labels, demanded) {
			continue
		}
		if !tainted(n) {
			return nil, fmt.Errorf("node %s of the pool has no NoSchedule taint (it has %s), want one that keeps other pods off", n.Name, taints(n))
		}
		pool[n.Name] = true
	}
	if len(pool) == 0 {
		return nil, fmt.Errorf("no node bears the labels that the Vault pods demand: %s", describeLabels(demanded))
	}
	return pool, nil
}

// demandedLabels are labels of which a node must have one of the values given.
func demandedLabels(spec corev1.PodSpec) map[string][]string {
	demanded := map[string][]string{}
	for key, value := range spec.NodeSelector {
		demanded[key] = []string{value}
	}
	if spec.Affinity == nil || spec.Affinity.NodeAffinity == nil {
		return demanded
	}
	required := spec.Affinity.NodeAffinity.RequiredDuringSchedulingIgnoredDuringExecution
	if required == nil || len(required.NodeSelectorTerms) != 1 {
		return demanded // alternatives bind to no single pool
	}
	for _, e := range required.NodeSelectorTerms[0].MatchExpressions {
		if e.Operator == corev1.NodeSelectorOpIn {
			demanded[e.Key] = e.Values
		}
	}
	return demanded
}

func hasLabels(labels map[string]string, demanded map[string][]string) bool {
	for key, values := range demanded {
		if !slices.Contains(values, labels[key]) {
			return false
		}
	}
	return true
}

func describeLabels(demanded map[string][]string) string {
	var words []string
	for key, values := range demanded {
		words = append(words, key+"="+strings.Join(values, "|"))
	}
	slices.Sort(words)
	return strings.Join(words, ", ")
}

// tainted ignores what Kubernetes itself puts on nodes that are out of order.
func tainted(n corev1.Node) bool {
	return slices.ContainsFunc(n.Spec.Taints, func(t corev1.Taint) bool {
		return (t.Effect == corev1.TaintEffectNoSchedule || t.Effect == corev1.TaintEffectNoExecute) &&
			!strings.HasPrefix(t.Key, "node.kubernetes.io/")
	})
}

func taints(n corev1.Node) string {
	if len(n.Spec.Taints) == 0 {
		return "no taint"
	}
	var words []string
	for _, t := range n.Spec.Taints {
		words = append(words, t.ToString())
	}
	return strings.Join(words, ", ")
}

// onlyOnPool judges where the Vault pods are.
func onlyOnPool(vault []corev1.Pod, pool map[string]bool) error {
	if len(vault) == 0 {
		return errors.New("there is no Vault pod")
	}
	for _, p := range vault {
		if p.Spec.NodeName == "" {
			return fmt.Errorf("Vault pod %s is on no node", p.Name)
		}
		if !pool[p.Spec.NodeName] {
			return fmt.Errorf("Vault pod %s is on node %s, which is not of the pool", p.Name, p.Spec.NodeName)
		}
	}
	return nil
}

// noForeigners judges what else is on the pool. Pods of DaemonSets and static
// pods belong to each node; pods that have ended take nothing.
func noForeigners(vault, all []corev1.Pod, pool map[string]bool) error {
	ours := map[string]bool{}
	for _, p := range vault {
		ours[p.Namespace+"/"+p.Name] = true
	}
	var foreign []string
	for _, p := range all {
		name := p.Namespace + "/" + p.Name
		over := p.Status.Phase == corev1.PodSucceeded || p.Status.Phase == corev1.PodFailed
		if !pool[p.Spec.NodeName] || over || ours[name] || ofNode(p) {
			continue
		}
		foreign = append(foreign, name+" on "+p.Spec.NodeName)
	}
	if len(foreign) == 0 {
		return nil
	}
	slices.Sort(foreign)
	return fmt.Errorf("%d foreign pods are on nodes of the pool: %s; want only Vault and DaemonSets there", len(foreign), strings.Join(foreign, ", "))
}

func ofNode(p corev1.Pod) bool {
	for _, o := range p.OwnerReferences {
		if o.Kind == "DaemonSet" || o.Kind == "Node" {
			return true
		}
	}
	return p.Labels[target.RunLabel] != "" // a guest of this run, gone after it
}

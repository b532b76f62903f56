package deploy

import (
	"fmt"
	"maps"
	"path"
	"slices"
	"strings"
	"testing"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	networkingv1 "k8s.io/api/networking/v1"
	policyv1 "k8s.io/api/policy/v1"
	"k8s.io/apimachinery/pkg/runtime"

	"github.com/vaultproof/vaultproof/deploy/deploytest"
)

// objects are what an overlay renders to, by "Kind/name".
type objects map[string]runtime.Object

// rendered is one of the overlays.
func rendered(t *testing.T, overlay string) objects {
	t.Helper()
	all := objects{}
	for _, o := range deploytest.Render(t, FS, path.Join("vault/overlays", overlay)) {
		all[o.Kind+"/"+o.Name] = o.Object
	}
	return all
}

func find[T runtime.Object](t *testing.T, all objects, name string) T {
	t.Helper()
	object, ok := all[name].(T)
	if !ok {
		t.Fatalf("there is no %s among %v", name, slices.Sorted(maps.Keys(all)))
	}
	return object
}

func overlayNames(t *testing.T) []string {
	t.Helper()
	entries, err := FS.ReadDir("vault/overlays")
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	for _, e := range entries {
		names = append(names, e.Name())
	}
	for _, want := range []string{"gke", "kind", "minimal"} {
		if !slices.Contains(names, want) {
			t.Errorf("there is no overlay %s among %v", want, names)
		}
	}
	return names
}

// weakened says what an overlay has taken away of the hardening; no overlay may.
func weakened(all objects) []string {
	var lost []string
	lose := func(bad bool, format string, args ...any) {
		if bad {
			lost = append(lost, fmt.Sprintf(format, args...))
		}
	}
	ns, _ := all["Namespace/vault"].(*corev1.Namespace)
	lose(ns == nil || ns.Labels["pod-security.kubernetes.io/enforce"] != "restricted", "the namespace does not enforce restricted")
	deny, _ := all["NetworkPolicy/default-deny"].(*networkingv1.NetworkPolicy)
	lose(deny == nil || len(deny.Spec.PodSelector.MatchLabels) > 0 || len(deny.Spec.PolicyTypes) != 2 || deny.Spec.Ingress != nil || deny.Spec.Egress != nil, "not everything is denied by default")
	budget, _ := all["PodDisruptionBudget/vault"].(*policyv1.PodDisruptionBudget)
	lose(budget == nil || budget.Spec.MaxUnavailable == nil || budget.Spec.MaxUnavailable.IntValue() != 1 ||
		budget.Spec.UnhealthyPodEvictionPolicy == nil || *budget.Spec.UnhealthyPodEvictionPolicy != policyv1.AlwaysAllow, "the disruption budget is %+v", budget)
	set, _ := all["StatefulSet/vault"].(*appsv1.StatefulSet)
	if set == nil {
		return append(lost, "there is no StatefulSet")
	}
	pod := set.Spec.Template.Spec
	lose(pod.PriorityClassName != "vaultproof-vault" || all["PriorityClass/vaultproof-vault"] == nil, "the priority class is %q", pod.PriorityClassName)
	lose(pod.HostNetwork || pod.HostPID || pod.ShareProcessNamespace == nil || *pod.ShareProcessNamespace, "the pod shares a namespace")
	lose(pod.Affinity == nil || pod.Affinity.PodAntiAffinity == nil || len(pod.Affinity.PodAntiAffinity.RequiredDuringSchedulingIgnoredDuringExecution) != 1, "two pods may share a node")
	for _, c := range pod.Containers {
		s := c.SecurityContext
		lose(s == nil || s.ReadOnlyRootFilesystem == nil || !*s.ReadOnlyRootFilesystem || s.Capabilities == nil || len(s.Capabilities.Add) > 0 || !slices.Contains(s.Capabilities.Drop, "ALL"),
			"container %s has the security context %+v", c.Name, s)
	}
	for name, object := range all {
		if policy, is := object.(*networkingv1.NetworkPolicy); is {
			lose(wide(policy) != "", "%s %s", name, wide(policy))
		}
	}
	return lost
}

// wide says what in a policy opens more than somebody can mean; empty if nothing does.
func wide(policy *networkingv1.NetworkPolicy) string {
	var peers []networkingv1.NetworkPolicyPeer
	for _, rule := range policy.Spec.Ingress {
		if len(rule.From) == 0 || len(rule.Ports) == 0 {
			return "lets in from anywhere, or at any port"
		}
		peers = append(peers, rule.From...)
	}
	for _, rule := range policy.Spec.Egress {
		if len(rule.To) == 0 || len(rule.Ports) == 0 {
			return "lets out to anywhere, or to any port"
		}
		peers = append(peers, rule.To...)
	}
	for _, p := range peers {
		switch {
		case p.IPBlock != nil && !strings.HasSuffix(p.IPBlock.CIDR, "/32"):
			return "opens the network " + p.IPBlock.CIDR
		case p.NamespaceSelector != nil && p.PodSelector == nil && len(p.NamespaceSelector.MatchLabels)+len(p.NamespaceSelector.MatchExpressions) == 0:
			return "opens to every pod of every namespace"
		}
	}
	return ""
}

func TestNoOverlayWeakensTheStack(t *testing.T) {
	for _, overlay := range overlayNames(t) {
		if lost := weakened(rendered(t, overlay)); len(lost) > 0 {
			t.Errorf("overlay %s: %s", overlay, strings.Join(lost, "; "))
		}
	}
	for name, c := range map[string]struct {
		breakIt func(*testing.T, objects)
		want    string
	}{
		"baseline": {func(t *testing.T, o objects) {
			find[*corev1.Namespace](t, o, "Namespace/vault").Labels["pod-security.kubernetes.io/enforce"] = "baseline"
		}, "restricted"},
		"no default": {func(_ *testing.T, o objects) { delete(o, "NetworkPolicy/default-deny") }, "denied by default"},
		"open namespaces": {func(t *testing.T, o objects) {
			find[*networkingv1.NetworkPolicy](t, o, "NetworkPolicy/vault-clients").Spec.Ingress[0].From[0].PodSelector = nil
		}, "every pod of every namespace"},
		"the internet": {func(t *testing.T, o objects) {
			find[*networkingv1.NetworkPolicy](t, o, "NetworkPolicy/vault-custody").Spec.Egress[0].To[0].IPBlock.CIDR = "0.0.0.0/0"
		}, "0.0.0.0/0"},
		"any port": {func(t *testing.T, o objects) {
			find[*networkingv1.NetworkPolicy](t, o, "NetworkPolicy/vault-peers").Spec.Ingress[0].Ports = nil
		}, "any port"},
		"sealed pods stay": {func(t *testing.T, o objects) {
			find[*policyv1.PodDisruptionBudget](t, o, "PodDisruptionBudget/vault").Spec.UnhealthyPodEvictionPolicy = nil
		}, "disruption budget"},
		"doubling up": {func(t *testing.T, o objects) {
			find[*appsv1.StatefulSet](t, o, "StatefulSet/vault").Spec.Template.Spec.Affinity = nil
		}, "share a node"},
		"writable": {func(t *testing.T, o objects) {
			find[*appsv1.StatefulSet](t, o, "StatefulSet/vault").Spec.Template.Spec.Containers[1].SecurityContext.ReadOnlyRootFilesystem = nil
		}, "container bootstrap"},
		"no priority": {func(_ *testing.T, o objects) { delete(o, "PriorityClass/vaultproof-vault") }, "priority class"},
		"nothing":     {func(_ *testing.T, o objects) { delete(o, "StatefulSet/vault") }, "no StatefulSet"},
	} {
		all := rendered(t, "kind")
		c.breakIt(t, all)
		if lost := strings.Join(weakened(all), "; "); !strings.Contains(lost, c.want) {
			t.Errorf("%s: %q, want it to say %q", name, lost, c.want)
		}
	}
}

func TestMetricsAreForScrapers(t *testing.T) {
	all := rendered(t, "kind")
	for name, object := range all {
		policy, is := object.(*networkingv1.NetworkPolicy)
		if !is {
			continue
		}
		for _, rule := range policy.Spec.Ingress {
			for _, port := range rule.Ports {
				if (port.Port.IntValue() == 8210) != (policy.Name == "vault-metrics") {
					t.Errorf("%s opens port %s", name, port.Port)
				}
			}
		}
	}
	from := find[*networkingv1.NetworkPolicy](t, all, "NetworkPolicy/vault-metrics").Spec.Ingress[0].From
	const label = "vaultproof.dev/scraper"
	if len(from) != 2 || from[0].PodSelector.MatchLabels[label] != "true" || len(from[0].NamespaceSelector.MatchLabels) != 0 ||
		from[1].PodSelector != nil || from[1].NamespaceSelector.MatchLabels[label] != "true" {
		t.Errorf("metrics are open to %+v, want pods with the label, and namespaces with it", from)
	}
}

func TestOverlayGKE(t *testing.T) {
	all := rendered(t, "gke")
	set := find[*appsv1.StatefulSet](t, all, "StatefulSet/vault")
	claim := set.Spec.VolumeClaimTemplates[0].Spec
	if claim.StorageClassName == nil || *claim.StorageClassName != "premium-rwo" || claim.Resources.Requests.Storage().Value() < 10<<30 {
		t.Errorf("the volume is %+v", claim)
	}
	spread := set.Spec.Template.Spec.TopologySpreadConstraints[0]
	if spread.MinDomains == nil || *spread.MinDomains != 3 || spread.WhenUnsatisfiable != corev1.DoNotSchedule {
		t.Errorf("the spread is %+v", spread)
	}
	if set.Spec.Template.Spec.NodeSelector["dedicated"] != "vault" {
		t.Error("the pods are not bound to their pool")
	}
	ports := map[string][]int{}
	for _, rule := range find[*networkingv1.NetworkPolicy](t, all, "NetworkPolicy/vault-metadata-server").Spec.Egress {
		for _, port := range rule.Ports {
			ports[rule.To[0].IPBlock.CIDR] = append(ports[rule.To[0].IPBlock.CIDR], port.Port.IntValue())
		}
	}
	if !slices.Equal(ports["169.254.169.254/32"], []int{80, 8080}) || !slices.Equal(ports["169.254.169.252/32"], []int{987, 988}) {
		t.Errorf("the metadata server is reached at %v", ports)
	}
	if dns := find[*networkingv1.NetworkPolicy](t, all, "NetworkPolicy/vault-node-local-dns").Spec.Egress[0]; len(dns.To) != 2 || dns.Ports[0].Port.IntValue() != 53 {
		t.Errorf("the cache of names is reached at %+v", dns)
	}
}

func TestOverlayMinimal(t *testing.T) {
	set := find[*appsv1.StatefulSet](t, rendered(t, "minimal"), "StatefulSet/vault")
	pod := set.Spec.Template.Spec
	if len(pod.NodeSelector)+len(pod.Tolerations) > 0 {
		t.Errorf("the pods want nodes set apart: %v %v", pod.NodeSelector, pod.Tolerations)
	}
	if spread := pod.TopologySpreadConstraints; len(spread) != 1 || spread[0].WhenUnsatisfiable != corev1.ScheduleAnyway {
		t.Errorf("the pods wait for zones: %+v", spread)
	}
	if class := set.Spec.VolumeClaimTemplates[0].Spec.StorageClassName; class != nil {
		t.Errorf("the volume is of class %s, want the cluster's default", *class)
	}
}

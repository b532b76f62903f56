package isolation

import (
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/client-go/kubernetes/fake"

	"github.com/vaultproof/vaultproof/pkg/target"
)

func zoned(name, zone string) corev1.Node {
	return node(name, map[string]string{target.ZoneLabel: zone, corev1.LabelHostname: name, "dedicated": "vault", "size": "8"})
}

var threeZones = []corev1.Node{zoned("n1", "a"), zoned("n2", "b"), zoned("n3", "c"), node("services", map[string]string{target.ZoneLabel: "d"})}

func TestZonesFor(t *testing.T) {
	pool := corev1.PodSpec{NodeSelector: map[string]string{"dedicated": "vault"}}
	if zones := zonesFor(threeZones, pool); len(zones) != 3 || zones[2] != "c" {
		t.Errorf("zones %v, want those of the pool", zones)
	}
	cordoned := append([]corev1.Node{}, threeZones...)
	cordoned[2].Spec.Unschedulable = true
	if zones := zonesFor(cordoned, pool); len(zones) != 2 {
		t.Errorf("zones %v, want none of cordoned nodes", zones)
	}
	if zones := zonesFor([]corev1.Node{node("n1", map[string]string{"dedicated": "vault"})}, pool); len(zones) != 0 {
		t.Errorf("zones %v out of nothing", zones)
	}
}

func TestSpreads(t *testing.T) {
	right := corev1.TopologySpreadConstraint{
		TopologyKey: target.ZoneLabel, MaxSkew: 1, WhenUnsatisfiable: corev1.DoNotSchedule,
		LabelSelector: &metav1.LabelSelector{MatchLabels: labels.Set{"component": "server"}},
	}
	template := func(edit func(*corev1.TopologySpreadConstraint)) corev1.PodTemplateSpec {
		c := *right.DeepCopy()
		edit(&c)
		return corev1.PodTemplateSpec{ObjectMeta: metav1.ObjectMeta{Labels: vaultLabels}, Spec: corev1.PodSpec{TopologySpreadConstraints: []corev1.TopologySpreadConstraint{c}}}
	}
	says(t, "right", spreads(template(func(*corev1.TopologySpreadConstraint) {})))
	says(t, "none", spreads(corev1.PodTemplateSpec{}), "are none; want one on topology.kubernetes.io/zone")
	for name, c := range map[string]struct {
		edit func(*corev1.TopologySpreadConstraint)
		want string
	}{
		"soft":     {func(c *corev1.TopologySpreadConstraint) { c.WhenUnsatisfiable = corev1.ScheduleAnyway }, "ScheduleAnyway"},
		"two more": {func(c *corev1.TopologySpreadConstraint) { c.MaxSkew = 2 }, "maxSkew=2"},
		"by node":  {func(c *corev1.TopologySpreadConstraint) { c.TopologyKey = corev1.LabelHostname }, "kubernetes.io/hostname maxSkew=1"},
		"others":   {func(c *corev1.TopologySpreadConstraint) { c.LabelSelector.MatchLabels = labels.Set{"app": "web"} }, "for pods other than Vault's"},
		"nobody":   {func(c *corev1.TopologySpreadConstraint) { c.LabelSelector = nil }, "for pods other than Vault's"},
		"unreadable": {func(c *corev1.TopologySpreadConstraint) {
			c.LabelSelector.MatchExpressions = []metav1.LabelSelectorRequirement{{Key: "a", Operator: "Likes"}}
		}, "cannot be read"},
	} {
		says(t, name, spreads(template(c.edit)), c.want)
	}
}

func TestSpread(t *testing.T) {
	on := func(nodes ...string) (pods []corev1.Pod) {
		for i, n := range nodes {
			pods = append(pods, pod("vault", "vault-"+string(rune('0'+i)), n, ""))
		}
		return pods
	}
	zones := []string{"a", "b", "c"}
	says(t, "one each", spread(on("n1", "n2", "n3"), threeZones, zones))
	says(t, "two zones are left", spread(on("n1", "n2", "n1"), threeZones, zones[:2]))
	says(t, "two in one", spread(on("n1", "n1", "n2"), threeZones, zones), "a has 2 (vault-0, vault-1)", "c has 0 ()")
	says(t, "all in one", spread(on("n1", "n1", "n1"), threeZones, zones), "a has 3")
	says(t, "no zone", spread(on("n1", "n9"), threeZones, zones), `vault-1 is on node "n9", which is in no zone`)
	says(t, "pending", spread(on(""), threeZones, zones), "vault-0")
	says(t, "no pod", spread(nil, threeZones, zones), "no Vault pod")
}

func affine(name string, requirements ...corev1.NodeSelectorRequirement) corev1.PersistentVolume {
	v := corev1.PersistentVolume{ObjectMeta: metav1.ObjectMeta{Name: name, CreationTimestamp: metav1.NewTime(time.Date(2026, 3, 1, 2, 3, 4, 0, time.UTC))}}
	if requirements != nil {
		v.Spec.NodeAffinity = &corev1.VolumeNodeAffinity{Required: &corev1.NodeSelector{NodeSelectorTerms: []corev1.NodeSelectorTerm{{MatchExpressions: requirements}}}}
	}
	return v
}

func demand(key string, operator corev1.NodeSelectorOperator, values ...string) corev1.NodeSelectorRequirement {
	return corev1.NodeSelectorRequirement{Key: key, Operator: operator, Values: values}
}

func TestInZoneOfPod(t *testing.T) {
	p := pod("vault", "vault-0", "n1", "")
	for name, c := range map[string]struct {
		volume corev1.PersistentVolume
		want   []string
	}{
		"its zone":       {affine("pv", demand(target.ZoneLabel, corev1.NodeSelectorOpIn, "a")), nil},
		"its node":       {affine("pv", demand(corev1.LabelHostname, corev1.NodeSelectorOpIn, "n1")), nil},
		"of the network": {affine("pv"), nil},
		"not the others": {affine("pv", demand(target.ZoneLabel, corev1.NodeSelectorOpNotIn, "b", "c", "d")), nil},
		"another zone":   {affine("pv", demand(target.ZoneLabel, corev1.NodeSelectorOpIn, "b")), []string{"volume pv of pod vault-0 (since 2026-03-01T02:03:04Z) can be used in zones [b]", "node n1 in zone a"}},
		"two zones":      {affine("pv", demand(target.ZoneLabel, corev1.NodeSelectorOpIn, "a", "b")), []string{"zones [a, b]"}},
		"any zone":       {affine("pv", demand(corev1.LabelHostname, corev1.NodeSelectorOpExists)), []string{"zones [a, b, c]"}},
		"a node gone":    {affine("pv", demand(corev1.LabelHostname, corev1.NodeSelectorOpIn, "n9")), []string{"zones []"}},
		"unreadable":     {affine("pv", demand(corev1.LabelHostname, "Likes", "n1")), []string{"reading the node affinity of volume pv"}},
	} {
		says(t, name, inZoneOfPod([]held{{p, c.volume}}, threeZones), c.want...)
	}
	says(t, "no volume", inZoneOfPod(nil, threeZones), "no persistent volume")
}

func TestAdmits(t *testing.T) {
	n := zoned("n1", "a")
	byName := corev1.NodeSelector{NodeSelectorTerms: []corev1.NodeSelectorTerm{{MatchFields: []corev1.NodeSelectorRequirement{demand("metadata.name", corev1.NodeSelectorOpIn, "n1")}}}}
	large := corev1.NodeSelector{NodeSelectorTerms: []corev1.NodeSelectorTerm{{}, {MatchExpressions: []corev1.NodeSelectorRequirement{demand("size", corev1.NodeSelectorOpGt, "4")}}}}
	for name, selector := range map[string]corev1.NodeSelector{"by name": byName, "the second term": large} {
		if ok, err := admits(selector, n); !ok || err != nil {
			t.Errorf("%s: %v (%v)", name, ok, err)
		}
	}
	if ok, _ := admits(byName, zoned("n2", "a")); ok {
		t.Error("another name is admitted")
	}
	if ok, _ := admits(corev1.NodeSelector{NodeSelectorTerms: []corev1.NodeSelectorTerm{{}}}, n); ok {
		t.Error("an empty term admits a node; Kubernetes says that it matches none")
	}
}

func TestVolumesOf(t *testing.T) {
	p := pod("vault", "vault-0", "n1", "")
	p.Spec.Volumes = []corev1.Volume{
		{Name: "tmp"}, {Name: "data", VolumeSource: corev1.VolumeSource{PersistentVolumeClaim: &corev1.PersistentVolumeClaimVolumeSource{ClaimName: "data-vault-0"}}},
	}
	claim := &corev1.PersistentVolumeClaim{ObjectMeta: metav1.ObjectMeta{Namespace: "vault", Name: "data-vault-0"}, Spec: corev1.PersistentVolumeClaimSpec{VolumeName: "pv"}}
	volume := affine("pv")
	got, err := volumesOf(t.Context(), &target.Target{Namespace: "vault", Client: fake.NewClientset(claim, &volume)}, []corev1.Pod{p})
	if err != nil || len(got) != 1 || got[0].volume.Name != "pv" || got[0].pod.Name != "vault-0" {
		t.Errorf("volumes %+v (%v)", got, err)
	}
	_, err = volumesOf(t.Context(), &target.Target{Namespace: "vault", Client: fake.NewClientset(claim)}, []corev1.Pod{p})
	says(t, "no volume", err, `PersistentVolume "pv" of pod vault-0`)
	_, err = volumesOf(t.Context(), &target.Target{Namespace: "vault", Client: fake.NewClientset()}, []corev1.Pod{p})
	says(t, "no claim", err, "vault/data-vault-0")
}

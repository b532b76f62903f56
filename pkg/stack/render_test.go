package stack

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	networkingv1 "k8s.io/api/networking/v1"
	policyv1 "k8s.io/api/policy/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/client-go/kubernetes/scheme"

	"github.com/vaultproof/vaultproof/pkg/issuer"
	"github.com/vaultproof/vaultproof/pkg/kube"
)

func testOptions() Options {
	opts, err := Options{Custody: Custody{
		Endpoint: "10.9.8.7:443", Project: "test-project", Audience: "https://custody.test", CAPEM: []byte("custody CA"),
	}}.withDefaults()
	if err != nil {
		panic(err)
	}
	return opts
}

func testFacts(t *testing.T) facts {
	t.Helper()
	made, err := plan{namespace: "vault", now: time.Now()}.certificates(issuer.Keypair{}, issuer.Keypair{})
	if err != nil {
		t.Fatal(err)
	}
	return facts{
		apiServer: []address{{"10.96.0.1/32", 443}, {"172.18.0.2/32", 6443}},
		custody:   []address{{"10.9.8.7/32", 443}},
		tls:       made,
	}
}

func rendered(t *testing.T) kube.Objects {
	t.Helper()
	objects, err := render(testOptions(), testFacts(t))
	if err != nil {
		t.Fatal(err)
	}
	return objects
}

// typed decodes object into its Go type; a field that the type does not have is an error.
func typed[T runtime.Object](t *testing.T, objects kube.Objects, kind, name string, into T) T {
	t.Helper()
	object := objects.Find(kind, name)
	if object == nil {
		t.Fatalf("there is no %s %s", kind, name)
	}
	if err := strict(object, into); err != nil {
		t.Fatal(err)
	}
	return into
}

func strict(object *unstructured.Unstructured, into runtime.Object) error {
	if err := runtime.DefaultUnstructuredConverter.FromUnstructuredWithValidation(object.Object, into, true); err != nil {
		return fmt.Errorf("%s: %w", kube.String(object), err)
	}
	return nil
}

func TestEveryObjectIsValid(t *testing.T) {
	for _, object := range rendered(t) {
		into, err := scheme.Scheme.New(object.GroupVersionKind())
		if err != nil {
			t.Errorf("%s: %v", kube.String(object), err)
			continue
		}
		if err := strict(object, into); err != nil {
			t.Error(err)
		}
		if !kube.Managed(object) {
			t.Errorf("%s does not bear our label", kube.String(object))
		}
		if ns := object.GetNamespace(); ns != "vault" && object.GetKind() != "Namespace" && object.GetKind() != "PriorityClass" {
			t.Errorf("%s is in namespace %q", kube.String(object), ns)
		}
	}
	broken := rendered(t).Find("StatefulSet", "vault")
	_ = unstructured.SetNestedField(broken.Object, true, "spec", "template", "spec", "readOnly")
	if err := strict(broken, &appsv1.StatefulSet{}); err == nil {
		t.Error("a field that does not exist was accepted")
	}
}

func TestNamespaceFollowsTheOptions(t *testing.T) {
	opts := testOptions()
	opts.Namespace = "keys"
	objects, err := render(opts, testFacts(t))
	if err != nil {
		t.Fatal(err)
	}
	if objects.Find("Namespace", "keys") == nil || objects.Find("Namespace", "vault") != nil {
		t.Error("the Namespace object was not renamed")
	}
	binding := typed(t, objects, "RoleBinding", "vault-service-registration", &rbacv1.RoleBinding{})
	if binding.Namespace != "keys" || binding.Subjects[0].Namespace != "keys" {
		t.Errorf("the role binding is for %s in %s", binding.Subjects[0].Namespace, binding.Namespace)
	}
}

// unrestricted says what in a pod violates Pod Security "restricted", or that its
// root filesystem is writable.
func unrestricted(pod corev1.PodSpec) error {
	var problems []error
	complain := func(format string, args ...any) { problems = append(problems, fmt.Errorf(format, args...)) }
	if s := pod.SecurityContext; s == nil || s.RunAsNonRoot == nil || !*s.RunAsNonRoot || s.RunAsUser == nil || *s.RunAsUser == 0 ||
		s.SeccompProfile == nil || s.SeccompProfile.Type != corev1.SeccompProfileTypeRuntimeDefault {
		complain("the pod's security context is %+v", s)
	}
	if pod.HostNetwork || pod.HostPID || pod.HostIPC || pod.ShareProcessNamespace != nil && *pod.ShareProcessNamespace {
		complain("the pod shares a namespace")
	}
	if pod.AutomountServiceAccountToken == nil || *pod.AutomountServiceAccountToken {
		complain("a token is mounted without being asked for")
	}
	for _, c := range append(slices.Clone(pod.InitContainers), pod.Containers...) {
		s := c.SecurityContext
		if s == nil || s.AllowPrivilegeEscalation == nil || *s.AllowPrivilegeEscalation || s.Privileged != nil ||
			s.ReadOnlyRootFilesystem == nil || !*s.ReadOnlyRootFilesystem || s.RunAsNonRoot == nil || !*s.RunAsNonRoot ||
			s.Capabilities == nil || !slices.Equal(s.Capabilities.Drop, []corev1.Capability{"ALL"}) || len(s.Capabilities.Add) > 0 {
			complain("the security context of container %s is %+v", c.Name, s)
		}
		if c.ImagePullPolicy != corev1.PullIfNotPresent || c.Resources.Requests.Cpu().IsZero() || c.Resources.Requests.Memory().IsZero() || !c.Resources.Limits.Cpu().IsZero() {
			complain("container %s: pull policy %s, resources %+v", c.Name, c.ImagePullPolicy, c.Resources)
		}
	}
	for _, v := range pod.Volumes {
		if v.HostPath != nil {
			complain("volume %s is of the host", v.Name)
		}
	}
	return errors.Join(problems...)
}

func TestPodIsRestricted(t *testing.T) {
	pod := typed(t, rendered(t), "StatefulSet", "vault", &appsv1.StatefulSet{}).Spec.Template.Spec
	if err := unrestricted(pod); err != nil {
		t.Error(err)
	}
	for name, breakIt := range map[string]func(*corev1.PodSpec){
		"root":          func(p *corev1.PodSpec) { p.SecurityContext.RunAsUser = pointer(int64(0)) },
		"writable root": func(p *corev1.PodSpec) { p.Containers[1].SecurityContext.ReadOnlyRootFilesystem = pointer(false) },
		"capability": func(p *corev1.PodSpec) {
			p.Containers[0].SecurityContext.Capabilities.Add = []corev1.Capability{"IPC_LOCK"}
		},
		"host network":    func(p *corev1.PodSpec) { p.HostNetwork = true },
		"token":           func(p *corev1.PodSpec) { p.AutomountServiceAccountToken = nil },
		"no context":      func(p *corev1.PodSpec) { p.Containers[1].SecurityContext = nil },
		"host path":       func(p *corev1.PodSpec) { p.Volumes[0].HostPath = &corev1.HostPathVolumeSource{} },
		"unknown profile": func(p *corev1.PodSpec) { p.SecurityContext.SeccompProfile = nil },
	} {
		broken := pod.DeepCopy()
		breakIt(broken)
		if unrestricted(*broken) == nil {
			t.Errorf("%s was not noticed", name)
		}
	}
}

func TestTokensAreOnlyWhereUsed(t *testing.T) {
	pod := typed(t, rendered(t), "StatefulSet", "vault", &appsv1.StatefulSet{}).Spec.Template.Spec
	audiences := map[string]string{}
	for _, v := range pod.Volumes {
		if v.Projected == nil {
			continue
		}
		for _, source := range v.Projected.Sources {
			if source.ServiceAccountToken != nil {
				audiences[v.Name] = source.ServiceAccountToken.Audience
			}
		}
	}
	if len(audiences) != 2 || audiences["custody-token"] != "https://custody.test" || audiences["kube-api-access"] != "" {
		t.Errorf("audiences are %v", audiences)
	}
	mounts := map[string][]string{}
	for _, c := range pod.Containers {
		for _, m := range c.VolumeMounts {
			if _, isToken := audiences[m.Name]; isToken {
				mounts[c.Name] = append(mounts[c.Name], m.MountPath)
			}
		}
	}
	// Vault has no credential but its certificate: the sidecar registers it.
	slices.Sort(mounts["bootstrap"])
	if len(mounts["vault"]) != 0 ||
		!slices.Equal(mounts["bootstrap"], []string{"/var/run/secrets/custody", "/var/run/secrets/kubernetes.io/serviceaccount"}) {
		t.Errorf("token mounts are %v", mounts)
	}
	if mode := pod.Volumes[slices.IndexFunc(pod.Volumes, func(v corev1.Volume) bool { return v.Name == "tls" })].Secret.DefaultMode; mode == nil || *mode != 0o440 {
		t.Errorf("the private key has mode %v", mode)
	}
}

func TestPlacement(t *testing.T) {
	objects := rendered(t)
	set := typed(t, objects, "StatefulSet", "vault", &appsv1.StatefulSet{})
	pod := set.Spec.Template.Spec
	if *set.Spec.Replicas != Pods || set.Spec.PodManagementPolicy != appsv1.ParallelPodManagement || set.Spec.ServiceName != headlessService {
		t.Errorf("replicas %d, policy %s, service %s", *set.Spec.Replicas, set.Spec.PodManagementPolicy, set.Spec.ServiceName)
	}
	if class := set.Spec.VolumeClaimTemplates[0].Spec.StorageClassName; class == nil || *class != "standard" {
		t.Errorf("storage class of the kind overlay is %v", class)
	}
	anti := pod.Affinity.PodAntiAffinity.RequiredDuringSchedulingIgnoredDuringExecution
	if len(anti) != 1 || anti[0].TopologyKey != corev1.LabelHostname {
		t.Errorf("anti-affinity is %+v", anti)
	}
	spread := pod.TopologySpreadConstraints
	if len(spread) != 1 || spread[0].TopologyKey != zoneLabel || spread[0].WhenUnsatisfiable != corev1.DoNotSchedule {
		t.Errorf("topology spread is %+v", spread)
	}
	for _, labels := range []map[string]string{anti[0].LabelSelector.MatchLabels, spread[0].LabelSelector.MatchLabels, set.Spec.Selector.MatchLabels} {
		for key, value := range labels {
			if set.Spec.Template.Labels[key] != value {
				t.Errorf("selector %s=%s does not match the pods", key, value)
			}
		}
	}
	budget := typed(t, objects, "PodDisruptionBudget", "vault", &policyv1.PodDisruptionBudget{})
	if budget.Spec.MaxUnavailable.IntValue() != 1 || *budget.Spec.UnhealthyPodEvictionPolicy != policyv1.AlwaysAllow {
		t.Errorf("disruption budget is %+v", budget.Spec)
	}
}

func TestOnlyTheHeadlessServicePublishesNotReady(t *testing.T) {
	for _, object := range rendered(t) {
		if object.GetKind() != "Service" {
			continue
		}
		var service corev1.Service
		if err := strict(object, &service); err != nil {
			t.Fatal(err)
		}
		headless := service.Spec.ClusterIP == corev1.ClusterIPNone
		if headless != service.Spec.PublishNotReadyAddresses || headless != (service.Name == headlessService) {
			t.Errorf("Service %s: headless %v, publishes not ready %v", service.Name, headless, service.Spec.PublishNotReadyAddresses)
		}
		if (service.Spec.Selector["vault-active"] == "true") == headless {
			t.Errorf("Service %s selects %v", service.Name, service.Spec.Selector)
		}
	}
}

// TestReadinessIsVerified: the kubelet verifies no certificate, so the sidecar must, and
// must not take its pod out of the Services for what is over in a moment.
func TestReadinessIsVerified(t *testing.T) {
	pod := typed(t, rendered(t), "StatefulSet", statefulSetName, &appsv1.StatefulSet{}).Spec.Template.Spec
	for _, c := range pod.Containers {
		if c.ReadinessProbe == nil {
			t.Fatalf("container %s has no readiness probe", c.Name)
		}
		if c.Name != "bootstrap" {
			continue
		}
		probe := c.ReadinessProbe
		if probe.HTTPGet == nil || probe.HTTPGet.Path != "/readyz" || probe.HTTPGet.Scheme != corev1.URISchemeHTTPS {
			t.Errorf("the sidecar's readiness is %+v", probe.ProbeHandler)
		}
		if probe.PeriodSeconds*probe.FailureThreshold < 10 || probe.TimeoutSeconds < 2 {
			t.Errorf("%d failures at %d s take a pod out, each after %d s; want 10 s at least of more than the sidecar's own time limit", probe.FailureThreshold, probe.PeriodSeconds, probe.TimeoutSeconds)
		}
	}
}

func TestRulesNameTheirPods(t *testing.T) {
	role := typed(t, rendered(t), "Role", "vault-service-registration", &rbacv1.Role{})
	for _, rule := range role.Rules {
		if !slices.Equal(rule.ResourceNames, []string{"vault-0", "vault-1", "vault-2"}) || !slices.Equal(rule.Resources, []string{"pods"}) || !slices.Equal(rule.Verbs, []string{"get", "patch", "delete"}) {
			t.Errorf("rule %+v", rule)
		}
	}
}

func TestNetworkPolicies(t *testing.T) {
	objects := rendered(t)
	deny := typed(t, objects, "NetworkPolicy", "default-deny", &networkingv1.NetworkPolicy{})
	if len(deny.Spec.PodSelector.MatchLabels) != 0 || len(deny.Spec.PolicyTypes) != 2 || deny.Spec.Ingress != nil || deny.Spec.Egress != nil {
		t.Errorf("default-deny is %+v", deny.Spec)
	}
	api := typed(t, objects, "NetworkPolicy", "vault-api-server", &networkingv1.NetworkPolicy{})
	if len(api.Spec.Egress) != 2 || api.Spec.Egress[1].To[0].IPBlock.CIDR != "172.18.0.2/32" || api.Spec.Egress[1].Ports[0].Port.IntValue() != 6443 {
		t.Errorf("vault-api-server is %+v", api.Spec.Egress)
	}
	for _, object := range objects {
		if object.GetKind() != "NetworkPolicy" {
			continue
		}
		text, err := kube.Objects{object}.YAML()
		if err != nil {
			t.Fatal(err)
		}
		if strings.Contains(string(text), "192.0.2.") || strings.Contains(string(text), "0.0.0.0/0") {
			t.Errorf("%s still has a placeholder, or opens everything", kube.String(object))
		}
		if strings.Contains(string(text), "8210") != (object.GetName() == "vault-metrics") {
			t.Errorf("%s: the sidecar's port is opened to scrapers, and by vault-metrics alone", kube.String(object))
		}
	}
	f := testFacts(t)
	f.custody = nil
	if _, err := render(testOptions(), f); err == nil || !strings.Contains(err.Error(), "vault-custody would open nothing") {
		t.Errorf("got %v, want that no address is known", err)
	}
}

func TestCertificateIsForEveryJoinedName(t *testing.T) {
	f := testFacts(t)
	names := []string{"vault-0.vault-internal", "vault-2.vault-internal.vault.svc.cluster.local", "vault-active.vault.svc", "127.0.0.1"}
	if err := issuer.Verify(f.tls.server, names, time.Now()); err != nil {
		t.Error(err)
	}
}

func TestChecksumFollowsTheConfiguration(t *testing.T) {
	sum := func(opts Options) string {
		objects, err := render(opts, testFacts(t))
		if err != nil {
			t.Fatal(err)
		}
		return typed(t, objects, "StatefulSet", "vault", &appsv1.StatefulSet{}).Spec.Template.Annotations[checksumAnnotation]
	}
	same, moved := testOptions(), testOptions()
	moved.Custody.Endpoint = "10.9.8.8:443"
	if sum(same) == "" || sum(same) != sum(testOptions()) {
		t.Error("the checksum is not stable")
	}
	if sum(same) == sum(moved) {
		t.Error("the checksum did not follow the custody endpoint")
	}
}

package tenant

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	networkingv1 "k8s.io/api/networking/v1"
	"k8s.io/apimachinery/pkg/runtime"

	"github.com/vaultproof/vaultproof/deploy/deploytest"
)

// objects are what a base renders to, by "Kind/name".
type objects map[string]runtime.Object

// rendered is one of the embedded bases.
func rendered(t *testing.T, base string) objects {
	t.Helper()
	all := objects{}
	for _, o := range deploytest.Render(t, FS, base) {
		all[o.Kind+"/"+o.Name] = o.Object
	}
	return all
}

// shape is what both bases have in common, by other names.
type shape struct{ namespace, workload string }

var shapes = map[string]shape{
	"postgres": {"postgres", "StatefulSet/postgres"},
	"app":      {"tenant-example", "Deployment/tenantapp"},
}

// podOf is the pod of a workload.
func podOf(all objects, workload string) *corev1.PodSpec {
	switch w := all[workload].(type) {
	case *appsv1.StatefulSet:
		return &w.Spec.Template.Spec
	case *appsv1.Deployment:
		return &w.Spec.Template.Spec
	}
	return nil
}

// weak says what is not as hard as it has to be.
func weak(all objects, is shape) []string {
	var found []string
	say := func(bad bool, format string, args ...any) {
		if bad {
			found = append(found, fmt.Sprintf(format, args...))
		}
	}
	ns, _ := all["Namespace/"+is.namespace].(*corev1.Namespace)
	say(ns == nil || ns.Labels["pod-security.kubernetes.io/enforce"] != "restricted", "the namespace does not enforce restricted")
	deny, _ := all["NetworkPolicy/default-deny"].(*networkingv1.NetworkPolicy)
	say(deny == nil || len(deny.Spec.PodSelector.MatchLabels) > 0 || len(deny.Spec.PolicyTypes) != 2 || deny.Spec.Ingress != nil || deny.Spec.Egress != nil, "not everything is denied by default")
	for name, object := range all {
		policy, ok := object.(*networkingv1.NetworkPolicy)
		if !ok || name == "NetworkPolicy/default-deny" {
			continue
		}
		for _, rule := range policy.Spec.Egress {
			say(len(rule.To) == 0 || len(rule.Ports) == 0, "%s lets out to anywhere", name)
		}
		for _, rule := range policy.Spec.Ingress {
			say(len(rule.From) == 0 || len(rule.Ports) == 0, "%s lets in from anywhere", name)
		}
		say(len(policy.Spec.PodSelector.MatchLabels) == 0, "%s is for every pod", name)
	}
	for name := range all {
		kind, _, _ := strings.Cut(name, "/")
		say(slices.Contains([]string{"Role", "ClusterRole", "RoleBinding", "ClusterRoleBinding", "Secret"}, kind), "there is a %s", name)
	}
	pod := podOf(all, is.workload)
	if pod == nil {
		return append(found, "there is no "+is.workload)
	}
	say(pod.HostNetwork || pod.HostPID || pod.HostIPC || pod.ShareProcessNamespace != nil && *pod.ShareProcessNamespace, "the pod shares a namespace")
	say(pod.AutomountServiceAccountToken == nil || *pod.AutomountServiceAccountToken, "every container gets a token")
	for _, c := range append(slices.Clone(pod.InitContainers), pod.Containers...) {
		s := c.SecurityContext
		if s == nil {
			say(true, "container %s has no security context", c.Name)
			continue
		}
		say(s.ReadOnlyRootFilesystem == nil || !*s.ReadOnlyRootFilesystem, "container %s can write to its root filesystem", c.Name)
		say(s.RunAsNonRoot == nil || !*s.RunAsNonRoot, "container %s may be root", c.Name)
		say(s.AllowPrivilegeEscalation == nil || *s.AllowPrivilegeEscalation, "container %s may gain privileges", c.Name)
		say(s.Capabilities == nil || !slices.Equal(s.Capabilities.Drop, []corev1.Capability{"ALL"}) || len(s.Capabilities.Add) > 0, "container %s has capabilities", c.Name)
		say(s.SeccompProfile == nil || s.SeccompProfile.Type != corev1.SeccompProfileTypeRuntimeDefault, "container %s has no seccomp profile", c.Name)
		say(c.Resources.Limits.Memory().IsZero() || c.Resources.Requests.Cpu().IsZero(), "container %s has no bounds", c.Name)
		say(c.ImagePullPolicy != corev1.PullIfNotPresent, "the image of container %s is always pulled", c.Name)
	}
	for _, v := range pod.Volumes {
		say(v.HostPath != nil, "volume %s is of the host", v.Name)
		say(v.EmptyDir != nil && (v.EmptyDir.Medium != corev1.StorageMediumMemory || v.EmptyDir.SizeLimit == nil), "volume %s is on a disk, or has no bound", v.Name)
	}
	return found
}

func TestHardened(t *testing.T) {
	for base, is := range shapes {
		for _, what := range weak(rendered(t, base), is) {
			t.Errorf("%s: %s", base, what)
		}
	}
}

// Each way to weaken them is noticed.
func TestWeakenedIsNoticed(t *testing.T) {
	yes, no := true, false
	for base, is := range shapes {
		for want, weaken := range map[string]func(objects, *corev1.PodSpec){
			"does not enforce restricted": func(all objects, _ *corev1.PodSpec) { delete(all, "Namespace/"+is.namespace) },
			"denied by default":           func(all objects, _ *corev1.PodSpec) { delete(all, "NetworkPolicy/default-deny") },
			"to anywhere": func(all objects, _ *corev1.PodSpec) {
				all["NetworkPolicy/hole"] = &networkingv1.NetworkPolicy{Spec: networkingv1.NetworkPolicySpec{Egress: []networkingv1.NetworkPolicyEgressRule{{}}}}
			},
			"from anywhere": func(all objects, _ *corev1.PodSpec) {
				all["NetworkPolicy/hole"] = &networkingv1.NetworkPolicy{Spec: networkingv1.NetworkPolicySpec{Ingress: []networkingv1.NetworkPolicyIngressRule{{}}}}
			},
			"there is a Secret/password": func(all objects, _ *corev1.PodSpec) { all["Secret/password"] = &corev1.Secret{} },
			"there is a ClusterRole/all": func(all objects, _ *corev1.PodSpec) { all["ClusterRole/all"] = &corev1.Secret{} },
			"there is no " + is.workload: func(all objects, _ *corev1.PodSpec) { delete(all, is.workload) },
			"shares a namespace":         func(_ objects, pod *corev1.PodSpec) { pod.HostNetwork = true },
			"gets a token":               func(_ objects, pod *corev1.PodSpec) { pod.AutomountServiceAccountToken = nil },
			"has no security context":    func(_ objects, pod *corev1.PodSpec) { pod.Containers[0].SecurityContext = nil },
			"its root filesystem":        func(_ objects, pod *corev1.PodSpec) { pod.Containers[0].SecurityContext.ReadOnlyRootFilesystem = &no },
			"may be root":                func(_ objects, pod *corev1.PodSpec) { pod.Containers[0].SecurityContext.RunAsNonRoot = &no },
			"may gain privileges": func(_ objects, pod *corev1.PodSpec) {
				pod.Containers[0].SecurityContext.AllowPrivilegeEscalation = &yes
			},
			"has capabilities":   func(_ objects, pod *corev1.PodSpec) { pod.Containers[0].SecurityContext.Capabilities = nil },
			"no seccomp profile": func(_ objects, pod *corev1.PodSpec) { pod.Containers[0].SecurityContext.SeccompProfile = nil },
			"has no bounds":      func(_ objects, pod *corev1.PodSpec) { pod.Containers[0].Resources = corev1.ResourceRequirements{} },
			"of the host":        func(_ objects, pod *corev1.PodSpec) { pod.Volumes[0].HostPath = &corev1.HostPathVolumeSource{} },
			"on a disk":          func(_ objects, pod *corev1.PodSpec) { pod.Volumes[0].EmptyDir = &corev1.EmptyDirVolumeSource{} },
		} {
			all := rendered(t, base)
			weaken(all, podOf(all, is.workload))
			if found := weak(all, is); !slices.ContainsFunc(found, func(what string) bool { return strings.Contains(what, want) }) {
				t.Errorf("%s: what %q means was not noticed; found %q", base, want, found)
			}
		}
	}
}

// What the agent writes is in memory, the application only reads it, and the service
// account's token is for the agent alone, short, and for an audience of its own.
func TestSecretsOfTheApplication(t *testing.T) {
	pod := podOf(rendered(t, "app"), shapes["app"].workload)
	agent, app := pod.InitContainers[0], pod.Containers[0]
	if agent.RestartPolicy == nil || *agent.RestartPolicy != corev1.ContainerRestartPolicyAlways || agent.StartupProbe == nil {
		t.Error("the agent does not run beside the application, or does not come first")
	}
	for _, v := range pod.Volumes {
		if v.Name == "vault" && (v.EmptyDir == nil || v.EmptyDir.Medium != corev1.StorageMediumMemory) {
			t.Errorf("what the agent writes is on %+v", v.VolumeSource)
		}
		if v.Projected == nil {
			continue
		}
		token := v.Projected.Sources[0].ServiceAccountToken
		if token == nil || token.Audience == "" || token.ExpirationSeconds == nil || *token.ExpirationSeconds != 600 {
			t.Errorf("the service account's token is %+v, want one for an audience, and for ten minutes", token)
		}
	}
	for _, m := range app.VolumeMounts {
		if m.Name == "account" || !m.ReadOnly {
			t.Errorf("the application has %+v", m)
		}
	}
	if len(app.Env) > 0 {
		t.Errorf("the application gets %v from its environment", app.Env)
	}
}

// The database has no password for its superuser, lets nobody in without TLS, and writes no
// statement down.
func TestTheDatabaseKeepsItsSecrets(t *testing.T) {
	config, _ := rendered(t, "postgres")["ConfigMap/postgres-config"].(*corev1.ConfigMap)
	if config == nil {
		t.Fatal("there is no configuration")
	}
	for i, line := range strings.Split(config.Data["pg_hba.conf"], "\n") {
		fields := strings.Fields(line)
		if len(fields) == 0 || fields[0] == "#" {
			continue
		}
		method := fields[len(fields)-1]
		switch {
		case method == "trust" || method == "password" || method == "md5":
			t.Errorf("line %d lets in by %s", i+1, method)
		case (fields[0] == "host" || fields[0] == "hostnossl") && method != "reject":
			t.Errorf("line %d lets in without TLS", i+1)
		}
	}
	for _, want := range []string{"ssl = on", "log_statement = none", "log_min_error_statement = panic", "password_encryption = scram-sha-256"} {
		if !strings.Contains(config.Data["postgresql.conf"], want+"\n") {
			t.Errorf("the configuration lacks %s", want)
		}
	}
	for _, c := range podOf(rendered(t, "postgres"), shapes["postgres"].workload).Containers {
		for _, e := range c.Env {
			if strings.Contains(e.Name, "PASSWORD") || e.ValueFrom != nil {
				t.Errorf("container %s is told %s", c.Name, e.Name)
			}
		}
	}
}

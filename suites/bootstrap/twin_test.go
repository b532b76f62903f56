package bootstrap

import (
	"context"
	"errors"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/hashicorp/hcl"
	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/client-go/kubernetes/fake"

	"github.com/vaultproof/vaultproof/deploy"
	"github.com/vaultproof/vaultproof/pkg/custody"
	"github.com/vaultproof/vaultproof/pkg/stack"
	"github.com/vaultproof/vaultproof/pkg/target"
)

// rendered is the hardened stack as it would be deployed.
func rendered(t *testing.T) (set appsv1.StatefulSet, services []corev1.Service) {
	t.Helper()
	objects, err := stack.Render(stack.Options{Custody: stack.Custody{
		Endpoint: "192.0.2.7:443", Project: "p", Audience: "a", CIDRs: []string{"192.0.2.7/32"},
	}})
	if err != nil {
		t.Fatal(err)
	}
	for _, o := range objects {
		switch o.GetKind() {
		case "StatefulSet":
			err = runtime.DefaultUnstructuredConverter.FromUnstructured(o.Object, &set)
		case "Service":
			var s corev1.Service
			err = runtime.DefaultUnstructuredConverter.FromUnstructured(o.Object, &s)
			services = append(services, s)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	return set, services
}

func twinOfTheStack(t *testing.T) (*twin, appsv1.StatefulSet, []corev1.Service) {
	t.Helper()
	set, services := rendered(t)
	selector, err := metav1.LabelSelectorAsSelector(set.Spec.Selector)
	if err != nil {
		t.Fatal(err)
	}
	tw := &twin{prefix: "vault-twin-r1-boot-14", run: "vault-twin-r1-", target: &target.Target{
		Namespace: "vault", StatefulSet: "vault", Container: "vault", SidecarContainer: "bootstrap", CustodyPrefix: "vault", Selector: selector,
	}}
	// What the stack sets as variables may be arguments elsewhere.
	for i := range set.Spec.Template.Spec.Containers {
		if c := &set.Spec.Template.Spec.Containers[i]; c.Name == tw.target.SidecarContainer {
			c.Args = []string{"-peers=https://vault-1:8200", "-log-level=debug", "-snapshot-url=gs://snapshots"}
			c.Env = append(c.Env, corev1.EnvVar{Name: "SNAPSHOT_URL", Value: "gs://snapshots"})
		}
	}
	tw.pod = tw.manifest(set.Spec.Template, "vaultproof-boot-02-r1", "r1")
	return tw, set, services
}

func TestTwinIsMetByNobody(t *testing.T) {
	tw, _, services := twinOfTheStack(t)
	if len(services) < 2 {
		t.Fatalf("the stack has %d Services", len(services))
	}
	if err := strange(tw.pod.Labels, services, tw.target.Selector); err != nil {
		t.Error(err)
	}
	for name, value := range map[string]string{"app.kubernetes.io/name": "vault", "component": "server", target.RunLabel: "r1", target.ManagedBy: "vaultproof"} {
		if tw.pod.Labels[name] != value {
			t.Errorf("label %s is %q, want %q", name, tw.pod.Labels[name], value)
		}
	}
	// With its label it would be a replica.
	tw.pod.Labels[instanceLabel] = "vault"
	if strange(tw.pod.Labels, nil, tw.target.Selector) == nil {
		t.Error("a twin that the StatefulSet selects passes")
	}
	if strange(tw.pod.Labels, services, labels.Nothing()) == nil {
		t.Error("a twin that Services select passes")
	}
}

func TestTwinKeepsWhatIsTested(t *testing.T) {
	tw, set, _ := twinOfTheStack(t)
	spec, original := tw.pod.Spec, set.Spec.Template.Spec
	if !strings.HasSuffix(tw.pod.Name, "-0") || spec.Affinity != nil || spec.TopologySpreadConstraints != nil {
		t.Errorf("pod %s with affinity %v and spread %v", tw.pod.Name, spec.Affinity, spec.TopologySpreadConstraints)
	}
	for i, c := range spec.Containers {
		o := original.Containers[i]
		if c.Image != o.Image || !slices.Equal(c.Command, o.Command) {
			t.Errorf("container %s is %s %v, want %s %v", c.Name, c.Image, c.Command, o.Image, o.Command)
		}
		env := map[string]string{}
		for _, e := range c.Env {
			if _, twice := env[e.Name]; twice {
				t.Errorf("container %s has %s twice", c.Name, e.Name)
			}
			env[e.Name] = e.Value
		}
		if c.Name == "bootstrap" {
			if env["CUSTODY_PREFIX"] != "vault-twin-r1-boot-14" || env["FENCE"] != "false" {
				t.Errorf("the sidecar's prefix is %q and fencing %q", env["CUSTODY_PREFIX"], env["FENCE"])
			}
			for _, name := range []string{"PEERS", "SNAPSHOT_URL"} {
				if value, set := env[name]; !set || value != "" {
					t.Errorf("the sidecar's %s is %q, want it empty: what the real Vault has is none of its business", name, value)
				}
			}
			if want := []string{"-log-level=debug"}; env["LISTEN"] != ":8210" || !slices.Equal(c.Args, want) {
				t.Errorf("it listens on %q and its arguments are %v, want :8210 as in the stack, and %v", env["LISTEN"], c.Args, want)
			}
		}
		if c.Name == "vault" && env["VAULT_CLUSTER_ADDR"] != "https://127.0.0.1:8201" {
			t.Errorf("Vault's cluster address is %q", env["VAULT_CLUSTER_ADDR"])
		}
	}
	if i := slices.IndexFunc(spec.Volumes, func(v corev1.Volume) bool { return v.Name == "data" }); i < 0 || spec.Volumes[i].EmptyDir == nil {
		t.Error("the twin has no empty storage of its own")
	}
	if len(original.Volumes) == len(spec.Volumes) {
		t.Error("the template was changed, or had its storage already")
	}
}

func TestTwinConfig(t *testing.T) {
	tw, _, _ := twinOfTheStack(t)
	set, _ := rendered(t)
	hclText, err := deploy.FS.ReadFile("vault/base/vault.hcl")
	if err != nil {
		t.Fatal(err)
	}
	tw.target.Client = fake.NewClientset(&set, &corev1.ConfigMap{
		ObjectMeta: metav1.ObjectMeta{Name: "vault-config", Namespace: "vault"}, Data: map[string]string{"vault.hcl": string(hclText)},
	})
	configs, err := tw.configs(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if len(configs) != 1 || !slices.ContainsFunc(tw.pod.Spec.Volumes, func(v corev1.Volume) bool {
		return v.ConfigMap != nil && v.ConfigMap.Name == configs[0].Name
	}) {
		t.Fatalf("%d configurations, want one that the pod mounts", len(configs))
	}
	var parsed map[string]any
	if err := hcl.Decode(&parsed, configs[0].Data["vault.hcl"]); err != nil {
		t.Fatalf("what is left is no HCL: %v", err)
	}
	if parsed["service_registration"] != nil || strings.Contains(configs[0].Data["vault.hcl"], "leader_api_addr") {
		t.Error("the twin would join or register")
	}
	for _, kept := range []string{"listener", "storage", "telemetry", "disable_mlock"} {
		if parsed[kept] == nil {
			t.Errorf("%s is gone", kept)
		}
	}
}

func TestAlone(t *testing.T) {
	for name, c := range map[string]struct{ config, want, err string }{
		"nothing":          {"a = 1\n", "a = 1\n", ""},
		"a block":          {"storage \"raft\" {\n  retry_join {\n    x = \"}\" # }\n  }\n  y = 1\n}\n", "storage \"raft\" {\n\n  y = 1\n}\n", ""},
		"nested":           {"service_registration \"kubernetes\" { a { b = \"\\\"}\" } }\nz = 1", "\nz = 1", ""},
		"a comment of it":  {"# retry_join does that\n", "# retry_join does that\n", ""},
		"not closed":       {"retry_join {\n", "", "no closing brace"},
		"as a JSON array":  {`{"storage":{"raft":{"retry_join":[{"leader_api_addr":"x"}]}}}`, "", "would join"},
		"as an assignment": {"retry_join = [{\n}]\n", "", "would join"},
	} {
		got, err := alone(c.config)
		if (c.err == "") != (err == nil) || err != nil && !strings.Contains(err.Error(), c.err) || err == nil && got != c.want {
			t.Errorf("%s: %q, %v; want %q, %q", name, got, err, c.want, c.err)
		}
	}
}

func TestWithout(t *testing.T) {
	for _, c := range []struct{ args, want []string }{
		{[]string{"-peers=a,b", "-listen=:1"}, []string{"-listen=:1"}},
		{[]string{"--peers", "a", "-listen=:1"}, []string{"-listen=:1"}},
		{[]string{"-peers", "-listen=:1"}, []string{"-listen=:1"}},
		{[]string{"-peers-file=x", "peers"}, []string{"-peers-file=x", "peers"}},
	} {
		if got := without(c.args, "peers"); !slices.Equal(got, c.want) {
			t.Errorf("%v becomes %v, want %v", c.args, got, c.want)
		}
	}
}

// memory is a custody that lists and deletes.
type memory struct {
	custody.Store
	names   []string
	deleted []string
	refuse  error
}

func (m *memory) List(context.Context) ([]string, error) { return m.names, nil }
func (m *memory) Delete(_ context.Context, id string) error {
	if m.refuse != nil {
		return m.refuse
	}
	m.deleted = append(m.deleted, id)
	return nil
}

func TestTwinLeavesNothing(t *testing.T) {
	tw, _, _ := twinOfTheStack(t)
	store := &memory{names: []string{"other", "vault-twin-r0-init-claim", "vault-twin-r1-boot-02-init-claim", "vault-twin-r1-boot-14-unseal-share-0", "vault-unseal-share-0"}}
	client := fake.NewClientset(tw.pod)
	tw.target.Client, tw.target.Custody, tw.erase = client, store, store
	if err := tw.remove(t.Context()); err != nil {
		t.Fatal(err)
	}
	if want := []string{"vault-twin-r0-init-claim", "vault-twin-r1-boot-14-unseal-share-0"}; !slices.Equal(store.deleted, want) {
		t.Errorf("deleted %v, want %v", store.deleted, want)
	}
	pods, err := client.CoreV1().Pods("vault").List(t.Context(), metav1.ListOptions{})
	if err != nil || len(pods.Items) != 0 {
		t.Errorf("%d pods are left (%v)", len(pods.Items), err)
	}
	store.refuse = errors.New("denied")
	if err := tw.remove(t.Context()); err == nil {
		t.Error("secrets that stay are not told")
	}
}

func TestAllRunning(t *testing.T) {
	state := func(states ...corev1.ContainerState) *corev1.Pod {
		pod := &corev1.Pod{Spec: corev1.PodSpec{Containers: make([]corev1.Container, 2)}}
		for _, s := range states {
			pod.Status.ContainerStatuses = append(pod.Status.ContainerStatuses, corev1.ContainerStatus{Name: "c", State: s})
		}
		return pod
	}
	running := corev1.ContainerState{Running: &corev1.ContainerStateRunning{StartedAt: metav1.NewTime(time.Unix(1, 0))}}
	waiting := corev1.ContainerState{Waiting: &corev1.ContainerStateWaiting{Reason: "ErrImagePull"}}
	if ok, why := allRunning(state(running, running)); !ok {
		t.Error(why)
	}
	for name, pod := range map[string]*corev1.Pod{
		"nothing yet": state(), "one of two": state(running), "one waits": state(running, waiting),
	} {
		if ok, _ := allRunning(pod); ok {
			t.Errorf("%s: counts as running", name)
		}
	}
	if _, why := allRunning(state(running, waiting)); !strings.Contains(why, "ErrImagePull") {
		t.Errorf("the reason is %q", why)
	}
}

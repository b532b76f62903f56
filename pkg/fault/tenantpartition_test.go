package fault

import (
	"errors"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/chaos-mesh/chaos-mesh/api/v1alpha1"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/client-go/kubernetes/fake"
	ctrlfake "sigs.k8s.io/controller-runtime/pkg/client/fake"
)

func TestTenantPartitionDropsOneAddress(t *testing.T) {
	fastSettling(t)
	service, slice := apiServer()
	vault := &corev1.Pod{ObjectMeta: labelled("vault-0", nil), Spec: corev1.PodSpec{NodeName: "n"}}
	chaos := ctrlfake.NewClientBuilder().WithScheme(chaosScheme(t)).WithInterceptorFuncs(settling).Build()
	env := &Env{Client: fake.NewClientset(service, slice, vault, daemonAt("n")), Chaos: chaos, Namespace: "vault", RunID: "r"}
	cut, err := (&TenantPartition{Env: env, Pods: []string{"vault-0"}, Server: "https://172.18.0.9:6443", Duration: time.Minute}).Inject(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	var list v1alpha1.NetworkChaosList
	if err := chaos.List(t.Context(), &list); err != nil || len(list.Items) != 1 {
		t.Fatalf("%d objects (%v), want 1", len(list.Items), err)
	}
	if spec := list.Items[0].Spec; spec.Target != nil || !slices.Equal(spec.ExternalTargets, []string{"172.18.0.9"}) || *spec.Duration != "1m0s" {
		t.Errorf("target %v, addresses %v, duration %s; want the tenant's API server alone, for a minute", spec.Target, spec.ExternalTargets, *spec.Duration)
	}
	if err := cut.Recover(t.Context()); err != nil {
		t.Fatal(err)
	}
	if err := chaos.List(t.Context(), &list); err != nil || len(list.Items) != 0 {
		t.Errorf("%d objects are left (%v)", len(list.Items), err)
	}
}

func TestTenantPartitionSparesVaultsOwnCluster(t *testing.T) {
	service, slice := apiServer()
	env := &Env{Client: fake.NewClientset(service, slice), Namespace: "vault", RunID: "r"}
	for server, want := range map[string]string{
		"https://172.18.0.2:6443":      "of Vault's own cluster",
		"https://10.96.0.1:443":        "of Vault's own cluster",
		"https://tenants.example:6443": "dropped by address",
		"https://[::1":                 "no URL",
	} {
		_, err := (&TenantPartition{Env: env, Pods: []string{"vault-0"}, Server: server}).Inject(t.Context())
		if !errors.Is(err, ErrUnavailable) || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v, want %q", server, err, want)
		}
	}
	if _, err := (&TenantPartition{Env: env, Server: "https://172.18.0.9:6443"}).Inject(t.Context()); !errors.Is(err, ErrUnavailable) {
		t.Errorf("no pods: %v, want ErrUnavailable", err)
	}
}

package tenancy

import (
	"slices"
	"testing"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes/fake"

	"github.com/vaultproof/vaultproof/pkg/tenancy"
)

// What belongs to somebody else's tenant stays, whatever it is called.
func TestOnlyOurTenantsAreSweptFromVault(t *testing.T) {
	a, b := tenancy.NewTenant(tenantA), tenancy.NewTenant(tenantB)
	mount, path := a.Mount, b.KV
	auths, engines := leftOf([]tenancy.Tenant{a, b}, []string{"token", mount, "tenant-a", "tenant-vaultproof-ab"}, []string{"secret", path, "tenant-a-kv", "sys"})
	if !slices.Equal(auths, []string{mount}) || !slices.Equal(engines, []string{path}) {
		t.Errorf("auth methods %v and engines %v, want %s and %s alone", auths, engines, mount, path)
	}
}

func TestOnlyWhatRunsLeftIsSweptFromTheCluster(t *testing.T) {
	named := func(name string, labels map[string]string) *corev1.Namespace {
		return &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: name, Labels: labels}}
	}
	client := fake.NewClientset(named("left", marks("r1")), named("tenant-vaultproof-a", own), named("foreign", nil),
		bindingOf("left", "x", "r1"), &corev1.ServiceAccount{ObjectMeta: metav1.ObjectMeta{Namespace: "tenant-vaultproof-a", Name: "vaultproof-other", Labels: marks("r1")}})
	if err := sweepCluster(t.Context(), client); err != nil {
		t.Fatal(err)
	}
	namespaces, err := client.CoreV1().Namespaces().List(t.Context(), metav1.ListOptions{})
	if err != nil || len(namespaces.Items) != 2 {
		t.Errorf("%d namespaces are left (%v), want the tenant's and the foreign one", len(namespaces.Items), err)
	}
	bindings, err := client.RbacV1().ClusterRoleBindings().List(t.Context(), metav1.ListOptions{})
	if err != nil || len(bindings.Items) != 0 {
		t.Errorf("%d bindings are left (%v)", len(bindings.Items), err)
	}
	accounts, err := client.CoreV1().ServiceAccounts("").List(t.Context(), metav1.ListOptions{})
	if err != nil || len(accounts.Items) != 0 {
		t.Errorf("%d accounts are left (%v)", len(accounts.Items), err)
	}
}

func TestATenantMovesInAndOut(t *testing.T) {
	client := fake.NewClientset()
	e := &Env{Cluster: &tenancy.Cluster{Client: client}, A: tenancy.NewTenant(tenantA), B: tenancy.NewTenant(tenantB)}
	for range 2 { // the second time all is there already
		for _, tenant := range e.both() {
			if err := e.moveIn(t.Context(), tenant); err != nil {
				t.Fatal(err)
			}
		}
	}
	bindings, err := client.RbacV1().ClusterRoleBindings().List(t.Context(), metav1.ListOptions{})
	if err != nil || len(bindings.Items) != 2 {
		t.Fatalf("%d bindings (%v), want one for each tenant", len(bindings.Items), err)
	}
	if err := delegated(bindings.Items, e.both()); err != nil {
		t.Errorf("who is bound as the set-up binds: %v", err)
	}
	if err := e.moveOut(t.Context()); err != nil {
		t.Fatal(err)
	}
	if left, err := client.CoreV1().Namespaces().List(t.Context(), metav1.ListOptions{}); err != nil || len(left.Items) != 0 {
		t.Errorf("%d namespaces are left (%v)", len(left.Items), err)
	}
	foreign := fake.NewClientset(&corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: e.A.Namespace}})
	if err := ensureNamespace(t.Context(), foreign, e.A.Namespace); err == nil {
		t.Error("a namespace that somebody else made is taken over")
	}
}

package suites

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/vaultproof/vaultproof/fixtures/cluster"
	"github.com/vaultproof/vaultproof/fixtures/secretmanager"
	"github.com/vaultproof/vaultproof/pkg/conformance"
)

// owning makes a cache in which vaultproof made a kind cluster called vp, and a
// path without docker.
func owning(t *testing.T) {
	t.Helper()
	t.Setenv("XDG_CACHE_HOME", t.TempDir())
	t.Setenv("PATH", t.TempDir())
	dir, err := cluster.StateDir("vp")
	if err != nil {
		t.Fatal(err)
	}
	if err := os.MkdirAll(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, "cluster.json"), []byte(`{"name":"vp"}`), 0o600); err != nil {
		t.Fatal(err)
	}
}

func TestAForeignClusterHasNoSwitches(t *testing.T) {
	owning(t)
	o := conformance.Options{ClusterName: "production"}
	if err := connect(t.Context(), &o); err != nil || o.Power != nil || o.CustodySwitch != nil {
		t.Errorf("power %v, custody %v (%v); want none", o.Power, o.CustodySwitch, err)
	}
}

func TestAClusterOfOursHasThem(t *testing.T) {
	owning(t)
	t.Setenv(adminTokenEnv, "s3cret")
	o := conformance.Options{ClusterName: "vp", CustodyAdmin: "http://127.0.0.1:1"}
	if err := connect(t.Context(), &o); err != nil || o.Power == nil {
		t.Fatalf("power %v (%v)", o.Power, err)
	}
	s, ok := o.CustodySwitch.(*secretmanager.Switch)
	if !ok || s.Principal != "system:serviceaccount:vault:vault" || s.Admin.URL != "http://127.0.0.1:1" {
		t.Errorf("custody switch %+v", o.CustodySwitch)
	}
}

func TestAnotherVaultOfTheClusterLeavesCustodyAlone(t *testing.T) {
	owning(t) // and no docker to find the server with
	o := conformance.Options{ClusterName: "vp", Namespace: "vault-plain"}
	if err := connect(t.Context(), &o); err != nil || o.Power == nil || o.CustodySwitch != nil {
		t.Errorf("power %v, custody %v (%v); want the nodes alone", o.Power, o.CustodySwitch, err)
	}
}

func TestWhatWasAskedForMustBeThere(t *testing.T) {
	owning(t)
	t.Setenv(adminTokenEnv, "")
	for want, o := range map[string]conformance.Options{
		"made no kind cluster called other": {KindCluster: "other"},
		"$" + adminTokenEnv:                 {CustodyAdmin: "http://127.0.0.1:1"},
		"finding the custody server":        {KindCluster: "vp"}, // there is no docker to ask
	} {
		err := connect(t.Context(), &o)
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("-kind-cluster %q -custody-admin %q: %v, want %q", o.KindCluster, o.CustodyAdmin, err, want)
		}
	}
}

func TestWhatWasToldOfTenantsMustBeThere(t *testing.T) {
	dir := t.TempDir()
	t.Setenv("PATH", dir)
	file, missing := filepath.Join(dir, "file"), filepath.Join(dir, "missing")
	if err := os.WriteFile(file, []byte("#!/bin/sh\n"), 0o700); err != nil {
		t.Fatal(err)
	}
	for want, told := range map[string]conformance.Tenants{
		"check -tenant-kubeconfig":      {Kubeconfig: missing},
		"path given with -terraform-mi": {Kubeconfig: file, Terraform: file, Mirror: file},
		"cannot be run":                 {Kubeconfig: file, Terraform: missing},
		"their cluster with -tenant":    {Terraform: file},
	} {
		if err := checkTenants(told); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%+v: %v, want %q", told, err, want)
		}
	}
	for name, told := range map[string]conformance.Tenants{
		"no tenants":                 {},
		"no Terraform, looked later": {Kubeconfig: file},
		"all":                        {Kubeconfig: file, Terraform: file, Mirror: dir},
	} {
		if err := checkTenants(told); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
}

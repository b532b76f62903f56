package terraform_test

import (
	"errors"
	"flag"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"testing/fstest"
	"time"

	modules "github.com/vaultproof/vaultproof/deploy/terraform"
	"github.com/vaultproof/vaultproof/pkg/ceremony/vaulttest"
	"github.com/vaultproof/vaultproof/pkg/terraform"
	"github.com/vaultproof/vaultproof/pkg/terraform/terraformtest"
)

// tenants is how many are set up and taken away; 0 leaves the test out:
//
//	TERRAFORM_MIRROR=DIR go test ./pkg/terraform -run TestManyTenants -v -timeout 0 -args -tenants 200
var tenants = flag.Int("tenants", 0, "TestManyTenants: how many tenants to set up and take away; 0 leaves the test out")

const (
	// growth is how many times as much one quarter of the tenants may cost as another. What
	// is linear is 1; the rest is noise of the machine.
	growth = 1.6
	// noise is by how much Vault's memory goes up and down by itself, in bytes.
	noise = 64 << 20
)

// quarter is what a quarter of the tenants took, each of them on average.
type quarter struct {
	apply, plan, destroy time.Duration
	vault                int64 // memory of Vault when its tenants were there, in bytes
}

// TestManyTenants sets tenants up one after another, each with a state of its own, as they
// are in atlantis.yaml; looks at all of them again; and takes them away. What one costs must
// not grow with how many there are.
func TestManyTenants(t *testing.T) {
	if *tenants < 4 {
		t.Skip("no number of tenants was asked for with -args -tenants N, four at least")
	}
	v := vaulttest.Start(t)
	token := provisioner(t, v, "")
	began := time.Now()
	var all []*terraform.Workspace
	for i := range *tenants {
		all = append(all, terraformtest.Open(t, terraform.Config{
			Tool: terraformtest.ToolWithProvider(t), Vault: terraformtest.Vault(t, v, token),
			Module: terraformtest.Module(t, modules.Tenant), Variables: terraformtest.Tenant(t, fmt.Sprintf("%03d", i)),
		}))
	}
	var quarters [4]quarter
	each := func(do func(*terraform.Workspace) error, took func(*quarter) *time.Duration) {
		for n := range quarters {
			part := all[len(all)*n/4 : len(all)*(n+1)/4]
			start := time.Now()
			for _, w := range part {
				must(t, do(w))
			}
			*took(&quarters[n]) = time.Since(start) / time.Duration(len(part))
			quarters[n].vault = max(quarters[n].vault, vaultMemory(t))
		}
	}
	each(func(w *terraform.Workspace) error { return w.Apply(t.Context()) }, func(q *quarter) *time.Duration { return &q.apply })
	memory := quarters
	each(func(w *terraform.Workspace) error {
		changes, err := w.Plan(t.Context())
		if err == nil && len(changes) > 0 {
			err = fmt.Errorf("the second plan is not empty: %v", changes)
		}
		return err
	}, func(q *quarter) *time.Duration { return &q.plan })
	each(func(w *terraform.Workspace) error { return w.Destroy(t.Context()) }, func(q *quarter) *time.Duration { return &q.destroy })
	for n := range quarters {
		quarters[n].vault = memory[n].vault
		t.Logf("up to tenant %d, each: apply %s, plan %s, destroy %s; Vault had %d MB", len(all)*(n+1)/4, round(quarters[n].apply), round(quarters[n].plan), round(quarters[n].destroy), quarters[n].vault>>20)
	}
	t.Logf("%d tenants in %s; the largest process of the tool had %d MB", len(all), round(time.Since(began)), largestChild(t)>>20)
	if err := linear(quarters); err != nil {
		t.Error(err)
	}
	if left := strings.Join(inventory(t, v), " "); strings.Contains(left, "tenant-") {
		t.Errorf("tenants are left: %s", left)
	}
}

func round(d time.Duration) time.Duration { return d.Round(time.Millisecond) }

// linear judges that no quarter of the tenants costs much more than another.
func linear(quarters [4]quarter) error {
	var errs []error
	for _, cost := range []struct {
		what string
		of   func(quarter) time.Duration
	}{
		{"an apply", func(q quarter) time.Duration { return q.apply }},
		{"a plan", func(q quarter) time.Duration { return q.plan }},
		{"a destroy", func(q quarter) time.Duration { return q.destroy }},
	} {
		least, most := cost.of(quarters[0]), cost.of(quarters[0])
		for _, q := range quarters {
			least, most = min(least, cost.of(q)), max(most, cost.of(q))
		}
		if most.Seconds() > growth*least.Seconds() {
			errs = append(errs, fmt.Errorf("%s takes %s in one quarter of the tenants and %s in another, want no more than %.1f times as much", cost.what, round(least), round(most), growth))
		}
	}
	early, late := quarters[1].vault-quarters[0].vault, quarters[3].vault-quarters[2].vault
	if late > max(early, 0)+noise {
		errs = append(errs, fmt.Errorf("Vault's memory grows by %d MB with the last quarter of the tenants and by %d MB with the second, want no more than that and %d MB", late>>20, early>>20, noise>>20))
	}
	return errors.Join(errs...)
}

// largestChild is the most memory that any process of the tool has had so far, in bytes:
// those that it started itself, such as the provider, are among them.
func largestChild(t *testing.T) int64 {
	t.Helper()
	var usage syscall.Rusage
	must(t, syscall.Getrusage(syscall.RUSAGE_CHILDREN, &usage))
	return usage.Maxrss << 10 // kernel: kilobytes
}

// vaultMemory is what the one Vault that this process started has now, in bytes.
func vaultMemory(t *testing.T) int64 {
	t.Helper()
	threads, err := filepath.Glob("/proc/self/task/*/children")
	must(t, err)
	var children strings.Builder
	for _, thread := range threads {
		if text, err := os.ReadFile(thread); err == nil { // else the thread has ended
			children.Write(append(text, ' '))
		}
	}
	for id := range strings.FieldsSeq(children.String()) {
		status, err := os.ReadFile("/proc/" + id + "/status")
		if err != nil || !strings.HasPrefix(string(status), "Name:\tvault\n") {
			continue
		}
		var kilobytes int64
		for line := range strings.Lines(string(status)) {
			if _, err := fmt.Sscanf(line, "VmRSS: %d kB", &kilobytes); err == nil {
				return kilobytes << 10
			}
		}
	}
	return 0
}

// fleet is a root module that uses the tenant's many times, as a caller may: that has no
// provider block to forbid it.
const fleet = `
terraform {
  required_providers {
    vault = { source = "hashicorp/vault" }
  }
}
variable "kubernetes_host" { type = string }
variable "kubernetes_ca" { type = string }
variable "audience" { type = string }
module "tenant" {
  source          = "./tenant"
  for_each        = toset(["a", "b", "c"])
  name            = each.value
  kubernetes_host = var.kubernetes_host
  kubernetes_ca   = var.kubernetes_ca
  audience        = var.audience
}
`

func TestTheTenantModuleManyTimesFromAnother(t *testing.T) {
	v := vaulttest.Start(t)
	variables := terraformtest.Tenant(t, "")
	delete(variables, "name")
	w := terraformtest.Open(t, terraform.Config{
		Tool: terraformtest.ToolWithProvider(t), Vault: terraformtest.Vault(t, v, provisioner(t, v, "")),
		Module: fleetModule(t), Variables: variables,
	})
	must(t, w.Apply(t.Context()))
	unchanged(t, w, "after an apply")
	if have := strings.Join(inventory(t, v), " "); !strings.Contains(have, "mount tenant-c-kv/") {
		t.Errorf("tenant c is not there: %s", have)
	}
	must(t, w.Destroy(t.Context()))
}

// fleetModule is the root module, with the tenant's beside it.
func fleetModule(t *testing.T) fs.FS {
	t.Helper()
	module := fstest.MapFS{"main.tf": {Data: []byte(fleet)}}
	tenant := terraformtest.Module(t, modules.Tenant)
	files, err := fs.Glob(tenant, "*.tf")
	must(t, err)
	for _, name := range files {
		text, err := fs.ReadFile(tenant, name)
		must(t, err)
		module["tenant/"+name] = &fstest.MapFile{Data: text}
	}
	return module
}

func TestLinear(t *testing.T) {
	steady := quarter{apply: time.Second, plan: time.Second, destroy: time.Second}
	var quarters [4]quarter
	for n := range quarters {
		quarters[n] = steady
		quarters[n].vault = int64(200+10*n) << 20
	}
	if err := linear(quarters); err != nil {
		t.Errorf("linear costs: %v", err)
	}
	quarters[0].destroy = 2 * time.Second // the most tenants are there at the beginning of the end
	quarters[3].apply, quarters[3].plan, quarters[3].vault = 3*time.Second, 3*time.Second, 900<<20
	err := linear(quarters)
	for _, want := range []string{"an apply takes 1s in one quarter of the tenants and 3s", "a plan takes", "a destroy takes 1s in one quarter of the tenants and 2s", "Vault's memory grows by 680 MB"} {
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("costs that grow: %v, want %q", err, want)
		}
	}
}

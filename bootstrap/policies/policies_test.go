package policies

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestLoad(t *testing.T) {
	built, err := Load("")
	if err != nil || len(built) != len(Names) {
		t.Fatalf("%d policies, error %v", len(built), err)
	}
	dir := t.TempDir()
	if _, err := Load(dir); err == nil || !strings.Contains(err.Error(), "admin.hcl") {
		t.Errorf("error %v; want one that names the missing file", err)
	}
	for _, n := range Names {
		if err := os.WriteFile(filepath.Join(dir, n+".hcl"), []byte("# own"), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if own, err := Load(dir); err != nil || own["admin"] != "# own" {
		t.Errorf("policies %q, error %v", own, err)
	}
	if err := os.WriteFile(filepath.Join(dir, "provisioner.hcl"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := Load(dir); err == nil {
		t.Error("an empty policy was taken; it would lock the provisioner out")
	}
}

package bootstrap

import (
	"math/rand/v2"
	"strings"
	"testing"

	"github.com/vaultproof/vaultproof/pkg/target"
)

func TestTooMany(t *testing.T) {
	five := []string{"s0", "s1", "s2", "s3", "s4"}
	random := rand.New(rand.NewPCG(1, 2))
	lost, err := tooMany(five, 3, random)
	if err != nil || len(lost) != 3 {
		t.Errorf("lost %v (%v), want 3 of 5 shares, so that 2 are left", lost, err)
	}
	if lost, err := tooMany(five[:1], 1, random); err != nil || len(lost) != 1 {
		t.Errorf("lost %v (%v), want the only share", lost, err)
	}
	if five[0] != "s0" || five[4] != "s4" {
		t.Errorf("the list was changed: %v", five)
	}
	for name, threshold := range map[string]int{"fewer shares than it takes": 6, "no threshold": 0} {
		if _, err := tooMany(five, threshold, random); err == nil {
			t.Errorf("%s: passes", name)
		}
	}
}

func TestNamesAll(t *testing.T) {
	lost := []string{"vault-unseal-share-0", "vault-unseal-share-3"}
	const full = `{"level":"ERROR","msg":"state blocked","why":"no readable version of vault-unseal-share-0, vault-unseal-share-3"}` + "\n"
	if err := namesAll("vault-1", full, lost); err != nil {
		t.Error(err)
	}
	for name, c := range map[string]struct{ log, want string }{
		"one of two":    {"no readable version of vault-unseal-share-0\n", "does not name the lost secret vault-unseal-share-3"},
		"none":          {"Vault is sealed\n", "vault-unseal-share-0, vault-unseal-share-3"},
		"never at once": {"no vault-unseal-share-0\nno vault-unseal-share-3\n", "no single message"},
	} {
		if err := namesAll("vault-1", c.log, lost); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %v, want %q", name, err, c.want)
		}
	}
}

func TestSameCluster(t *testing.T) {
	if err := sameCluster([]target.PodState{{ClusterID: "a"}, {ClusterID: "a"}}, "a"); err != nil {
		t.Error(err)
	}
	if err := sameCluster([]target.PodState{{ClusterID: "a"}, {ClusterID: "b"}}, "a"); err == nil {
		t.Error("another cluster passes")
	}
}

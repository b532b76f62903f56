package bootstrap

import (
	"strings"
	"testing"
)

func TestSameVersions(t *testing.T) {
	before := map[string]int{"vault-root-token": 1, "vault-unseal-share-0": 1}
	if err := sameVersions("vault-1", before, map[string]int{"vault-root-token": 1, "vault-unseal-share-0": 1}); err != nil {
		t.Error(err)
	}
	for name, c := range map[string]struct {
		before, after map[string]int
		want          string
	}{
		"a version more": {before, map[string]int{"vault-root-token": 2, "vault-unseal-share-0": 1}, "vault-root-token went from 1 to 2"},
		"a new secret":   {before, map[string]int{"vault-root-token": 1, "vault-unseal-share-0": 1, "vault-x": 1}, "vault-x went from 0 to 1"},
		"a secret gone":  {before, map[string]int{"vault-root-token": 1}, "vault-unseal-share-0 went from 1 to 0"},
		"empty custody":  {nil, nil, "held no secret"},
	} {
		err := sameVersions("vault-1", c.before, c.after)
		if err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %v, want %q", name, err, c.want)
		}
	}
}

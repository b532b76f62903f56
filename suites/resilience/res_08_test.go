package resilience

import (
	"strings"
	"testing"
)

func TestSameAgain(t *testing.T) {
	before := cluster{ids: map[string]string{"vault-0": "a", "vault-1": "a"}, versions: map[string]int{"vault-unseal-share-0": 1}}
	if err := sameAgain(before, before); err != nil {
		t.Error(err)
	}
	for name, c := range map[string]struct {
		after cluster
		want  string
	}{
		"another cluster": {cluster{ids: map[string]string{"vault-0": "a", "vault-1": "b"}, versions: before.versions}, "vault-1 tells cluster_id \"b\""},
		"a pod is gone":   {cluster{ids: map[string]string{"vault-0": "a"}, versions: before.versions}, "vault-1 tells cluster_id \"\""},
		"a new share":     {cluster{ids: before.ids, versions: map[string]int{"vault-unseal-share-0": 2}}, "from 1 to 2 versions"},
		"more shares":     {cluster{ids: before.ids, versions: map[string]int{"vault-unseal-share-0": 1, "vault-unseal-share-1": 1}}, "vault-unseal-share-1 went from 0 to 1"},
	} {
		if err := sameAgain(before, c.after); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %v, want %q", name, err, c.want)
		}
	}
}

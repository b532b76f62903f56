package bootstrap

import (
	"strings"
	"testing"
)

func TestOneCluster(t *testing.T) {
	ok := func(pod, id string) identity { return identity{pod: pod, clusterID: id, initialized: true} }
	for name, c := range map[string]struct {
		ids  []identity
		want string
	}{
		"one":             {[]identity{ok("vault-0", "a"), ok("vault-1", "a")}, ""},
		"two clusters":    {[]identity{ok("vault-0", "a"), ok("vault-1", "b"), ok("vault-2", "a")}, "a on vault-0, vault-2; b on vault-1"},
		"not initialised": {[]identity{ok("vault-0", "a"), {pod: "vault-1"}}, "vault-1 says initialized=false"},
		"sealed":          {[]identity{{pod: "vault-0", initialized: true, sealed: true}}, "vault-0 says sealed=true"},
		"no id":           {[]identity{ok("vault-0", "")}, "no cluster_id"},
		"no pods":         {nil, "no Vault pod"},
	} {
		err := oneCluster(c.ids)
		if (c.want == "") != (err == nil) || err != nil && !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %v, want %q", name, err, c.want)
		}
	}
}

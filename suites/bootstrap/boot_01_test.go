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

func TestAllVoters(t *testing.T) {
	three := []server{{"vault-0", true}, {"vault-1", true}, {"vault-2", true}}
	if err := allVoters(three, 3); err != nil {
		t.Error(err)
	}
	for name, servers := range map[string][]server{
		"one missing":  three[:2],
		"one too many": append(three[:3:3], server{"vault-3", true}),
		"a non-voter":  {{"vault-0", true}, {"vault-1", true}, {"vault-2", false}},
	} {
		if err := allVoters(servers, 3); err == nil {
			t.Errorf("%s: passes", name)
		}
	}
}

func TestParseServers(t *testing.T) {
	entry := map[string]any{"node_id": "vault-0", "voter": true}
	config := func(servers ...any) map[string]any {
		return map[string]any{"config": map[string]any{"servers": servers}}
	}
	if got, err := parseServers(config(entry)); err != nil || len(got) != 1 || got[0] != (server{"vault-0", true}) {
		t.Errorf("servers %v (%v)", got, err)
	}
	for name, data := range map[string]map[string]any{
		"nothing":  nil,
		"no voter": config(map[string]any{"node_id": "vault-0"}),
		"no id":    config(map[string]any{"voter": true}),
		"garbage":  config("vault-0"),
	} {
		if _, err := parseServers(data); err == nil {
			t.Errorf("%s: parsed", name)
		}
	}
}

package routing

import (
	"strings"
	"testing"
)

func TestOneActive(t *testing.T) {
	standby := claim{pod: "vault-1", label: "false"}
	for name, c := range map[string]struct {
		claims []claim
		want   string
	}{
		"right":       {[]claim{{pod: "vault-0", label: "true", isSelf: true}, standby}, ""},
		"two labels":  {[]claim{{pod: "vault-0", label: "true", isSelf: true}, {pod: "vault-1", label: "true"}}, "2 pods (vault-0, vault-1) bear the label"},
		"no label":    {[]claim{{pod: "vault-0", isSelf: true}, standby}, "no pod bear the label"},
		"wrong label": {[]claim{{pod: "vault-0", label: "false", isSelf: true}, {pod: "vault-1", label: "true"}}, "pod vault-1 is labelled vault-active=true, but sys/leader says is_self on vault-0"},
		"no active":   {[]claim{{pod: "vault-0", label: "true"}, standby}, "is_self on no pod"},
		"two active":  {[]claim{{pod: "vault-0", label: "true", isSelf: true}, {pod: "vault-1", isSelf: true}}, "is_self on 2 pods"},
		"a silent":    {[]claim{{pod: "vault-0", label: "true", isSelf: true}, {pod: "vault-1", silent: "connection refused"}}, "vault-1 cannot be asked"},
		"none":        {nil, "no Vault pod"},
	} {
		err := oneActive(c.claims)
		if (c.want == "") != (err == nil) || err != nil && !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %v, want %q", name, err, c.want)
		}
	}
}

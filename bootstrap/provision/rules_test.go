package provision

import (
	"encoding/json"
	"testing"
	"time"

	"github.com/hashicorp/vault/api"
)

func TestSameRole(t *testing.T) {
	p := &Provisioner{Period: time.Hour}
	good := func() map[string]any {
		return map[string]any{"allowed_policies": []any{"handover"}, "orphan": true, "renewable": true, "token_period": json.Number("3600"),
			"token_no_default_policy": true, "token_explicit_max_ttl": json.Number("0"), "allowed_policies_glob": []any{}, "path_suffix": ""}
	}
	if !p.sameRole(stepDown, &api.Secret{Data: good()}) {
		t.Error("a good role differs")
	}
	if p.sameRole(stepDown, nil) || p.sameRole(provisioner, &api.Secret{Data: good()}) {
		t.Error("an absent role, or another's, is the same")
	}
	for field, bad := range map[string]any{
		"allowed_policies": []any{"handover", "admin"}, "orphan": false, "renewable": nil, "token_period": json.Number("60"),
		"token_no_default_policy": false, "token_explicit_max_ttl": json.Number("9"), "token_num_uses": json.Number("1"),
		"allowed_policies_glob": []any{"*"}, "path_suffix": "x",
	} {
		data := good()
		data[field] = bad
		if p.sameRole(stepDown, &api.Secret{Data: data}) {
			t.Errorf("a role with %s = %v is the same", field, bad)
		}
	}
}

func TestCommand(t *testing.T) {
	for want, c := range map[string][2]string{
		"kubectl exec -n safe vault-1 -c bootstrap -- /usr/local/bin/bootstrap break-glass":           {"safe", "vault-1"},
		"kubectl exec <pod of the active Vault> -c bootstrap -- /usr/local/bin/bootstrap break-glass": {"", ""},
	} {
		if got := Command(c[0], c[1]); got != want {
			t.Errorf("%q, want %q", got, want)
		}
	}
}

package tenancy

import (
	"maps"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/hashicorp/vault/api"

	"github.com/vaultproof/vaultproof/bootstrap/policies"
	"github.com/vaultproof/vaultproof/pkg/ceremony/vaulttest"
	"github.com/vaultproof/vaultproof/pkg/tenancy"
)

func TestTheProvisionersBounds(t *testing.T) {
	bounds := map[string][]string{"sys/raw": nil, "sys/audit": {"read", "sudo"}}
	for name, c := range map[string]struct {
		has  map[string][]string
		want string
	}{
		"nothing":           {map[string][]string{"sys/raw": {}, "sys/audit": {}}, ""},
		"what is allowed":   {map[string][]string{"sys/raw": {}, "sys/audit": {"sudo", "read"}}, ""},
		"storage":           {map[string][]string{"sys/raw": {"read", "list"}}, "may read, list sys/raw (want nothing)"},
		"more than to look": {map[string][]string{"sys/audit": {"read", "delete"}}, "may delete sys/audit (want read, sudo alone)"},
		"root":              {map[string][]string{"sys/raw": {"root"}}, "may root sys/raw"},
	} {
		judged(t, name, within(bounds, c.has), c.want)
	}
}

func TestARequestThatGetsThrough(t *testing.T) {
	at := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	read := foray{request: request{http.MethodGet, "tenant-a-kv/data/x", nil}}
	child := foray{request: request{http.MethodPut, "auth/token/create", nil}, badRequest: true}
	for name, c := range map[string]struct {
		answer reply
		want   string
	}{
		"refused":           {reply{read, http.StatusForbidden, at}, ""},
		"read":              {reply{read, http.StatusOK, at}, "GET tenant-a-kv/data/x with the provisioner token got status 200 at 03:04:05.000, want 403"},
		"nothing there":     {reply{read, http.StatusNotFound, at}, "got status 404"},
		"asked for more":    {reply{read, http.StatusBadRequest, at}, "got status 400"},
		"more than a child": {reply{child, http.StatusBadRequest, at}, ""},
		"a child":           {reply{child, http.StatusOK, at}, "got status 200"},
	} {
		judged(t, name, turnedBack([]reply{c.answer}), c.want)
	}
	if err := replied([]reply{{read, 0, at}}); err == nil {
		t.Error("a Vault that does not answer is taken for one that refuses")
	}
}

// TestTheProvisionerPolicy: with a real Vault the policy of the stack is within its bounds,
// and each rule too many is found, by asking and by trying.
func TestTheProvisionerPolicy(t *testing.T) {
	v := vaulttest.Start(t)
	written, err := policies.Load("")
	if err != nil {
		t.Fatal(err)
	}
	a, b := tenancy.NewTenant("a"), tenancy.NewTenant("b")
	bounds := boundsOf([]tenancy.Tenant{a, b})
	if err := v.Root().Sys().Mount(a.KV, &api.MountInput{Type: "kv-v2"}); err != nil {
		t.Fatal(err)
	}
	if err := v.Root().Sys().PutPolicy("admin", written["admin"]); err != nil {
		t.Fatal(err)
	}
	for name, c := range map[string]struct{ more, asked, tried string }{
		"as it is":               {"", "", ""},
		"with databases":         {`path "tenant-database/+/config/*" { capabilities = ["create", "read", "update", "delete"] }` + "\n" + `path "tenant-database/+/roles/*" { capabilities = ["create", "read", "update", "delete"] }`, "", ""},
		"reads tenants' secrets": {`path "tenant-*" { capabilities = ["read"] }`, "read tenant-a-kv/data/app", "GET tenant-a-kv/data/vaultproof/ten-09"},
		"lists them":             {`path "+/metadata/*" { capabilities = ["list"] }`, "list tenant-a-kv/metadata", "LIST tenant-a-kv/metadata/"},
		"decrypts":               {`path "tenant-a-transit/*" { capabilities = ["update"] }`, "update tenant-a-transit/decrypt/app", "PUT tenant-a-transit/decrypt/app"},
		"seals":                  {`path "sys/seal" { capabilities = ["update", "sudo"] }`, "sys/seal (want nothing)", ""},
		"reads storage":          {`path "sys/raw/*" { capabilities = ["read", "list", "sudo"] }`, "sys/raw/core/keyring", "GET sys/raw/core/keyring"},
		"writes any policy":      {`path "sys/policies/acl/*" { capabilities = ["create", "update"] }`, "sys/policies/acl/root", "PUT sys/policies/acl/ten-09"},
		"mounts anything":        {`path "sys/mounts/*" { capabilities = ["create", "update"] }`, "sys/mounts/ten-09", "PUT sys/mounts/ten-09"},
		"makes orphans":          {`path "auth/token/create-orphan" { capabilities = ["update", "sudo"] }`, "auth/token/create-orphan", "PUT auth/token/create-orphan"},
	} {
		if err := v.Root().Sys().PutPolicy(policies.Provisioner, written[policies.Provisioner]+"\n"+c.more); err != nil {
			t.Fatal(err)
		}
		made, err := v.Root().Auth().Token().CreateOrphan(&api.TokenCreateRequest{Policies: []string{policies.Provisioner}, NoDefaultPolicy: true, Period: "1h"})
		if err != nil {
			t.Fatal(err)
		}
		client := v.Client(made.Auth.ClientToken)
		if err := alive(t.Context(), client); err != nil {
			t.Fatal(err)
		}
		has, err := capabilities(t.Context(), client, slices.Sorted(maps.Keys(bounds)))
		if err != nil {
			t.Fatal(err)
		}
		judged(t, name+", asked", within(bounds, has), c.asked)
		var answers []reply
		for _, f := range forays(a) {
			answers = append(answers, f.try(t.Context(), client))
		}
		if err := replied(answers); err != nil {
			t.Fatal(err)
		}
		judged(t, name+", tried", turnedBack(answers), c.tried)
	}
	if err := alive(t.Context(), v.Client("hvs.nobody")); err == nil {
		t.Error("a token that does not work is taken for one that may do nothing")
	}
}

// judged compares an error with what it should say; nothing means that there is none.
func judged(t *testing.T, name string, err error, want string) {
	t.Helper()
	if (err == nil) != (want == "") || err != nil && !strings.Contains(err.Error(), want) {
		t.Errorf("%s: %v, want %q", name, err, want)
	}
}

package bootstrap

import (
	"context"
	"encoding/json"
	"testing"
	"testing/synctest"
	"time"

	"github.com/vaultproof/vaultproof/pkg/custody"
)

func TestRenewedInTime(t *testing.T) {
	for name, c := range map[string]struct {
		spoil func(*tokenFields)
		want  string
	}{
		"fresh":          {func(*tokenFields) {}, ""},
		"just in time":   {func(t *tokenFields) { t.ttl = 8 * time.Hour }, ""},
		"never renewed":  {func(t *tokenFields) { t.ttl = 8*time.Hour - time.Second }, "has 7h59m59s to live, want at least 8h0m0s, a third of its period of 24h0m0s; it was made at"},
		"renewal failed": {func(t *tokenFields) { t.ttl, t.renewed = time.Minute, time.Unix(1_800_000_000, 0).UTC() }, "was last renewed at 2027-01-15T08:00:00Z"},
		"dead":           {func(t *tokenFields) { t.ttl = 0 }, "has 0s to live"},
		"not periodic":   {func(t *tokenFields) { t.period = 0 }, "has no period"},
	} {
		token := goodToken()
		c.spoil(&token)
		wants(t, name, renewedInTime(token), c.want)
	}
}

func TestReplacesAlike(t *testing.T) {
	answer := func() map[string]any {
		return map[string]any{"orphan": true, "renewable": true, "token_no_default_policy": true, "allowed_policies": []any{"provisioner"},
			"allowed_policies_glob": []any{}, "token_period": json.Number("86400"), "token_explicit_max_ttl": json.Number("0")}
	}
	for name, c := range map[string]struct {
		field string
		value any
		want  string
	}{
		"as it should be": {"name", "provisioner", ""},
		"children":        {"orphan", false, "orphan=false"},
		"no period":       {"token_period", json.Number("0"), "has no token_period"},
		"not renewable":   {"renewable", false, "renewable=false"},
		"capped":          {"token_explicit_max_ttl", json.Number("3600"), "token_explicit_max_ttl 1h0m0s"},
		"admin too":       {"allowed_policies", []any{"provisioner", "admin"}, "allows the policies [provisioner admin]"},
		"any policy":      {"allowed_policies", []any{}, "allows the policies []"},
		"by a glob":       {"allowed_policies_glob", []any{"*"}, "those like [*]"},
		"default too":     {"token_no_default_policy", false, "token_no_default_policy=false"},
	} {
		data := answer()
		data[c.field] = c.value
		role, err := parseRole(data)
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		wants(t, name, replacesAlike(role), c.want)
	}
	if _, err := parseRole(map[string]any{"token_period": "a day"}); err == nil {
		t.Error("a period that is no number was read")
	}
}

func TestMayReplace(t *testing.T) {
	wants(t, "may", mayReplace([]string{"create", "update"}), "")
	wants(t, "denied", mayReplace([]string{"deny"}), "the capabilities [deny] on auth/token/create/provisioner, want update")
	wants(t, "only looks", mayReplace([]string{"read"}), "want update")
}

func TestNewestAlone(t *testing.T) {
	v := func(name string, state custody.State) custody.Version {
		return custody.Version{Name: name, State: state}
	}
	for name, c := range map[string]struct {
		versions []custody.Version
		want     string
	}{
		"one":           {[]custody.Version{v("1", custody.Enabled)}, ""},
		"replaced":      {[]custody.Version{v("2", custody.Enabled), v("1", custody.Disabled)}, ""},
		"none":          {nil, "holds no version of secret vault-provisioner-token"},
		"old readable":  {[]custody.Version{v("3", custody.Enabled), v("2", custody.Enabled), v("1", custody.Disabled)}, "versions 2 of secret vault-provisioner-token are enabled beside version 3"},
		"new disabled":  {[]custody.Version{v("2", custody.Disabled), v("1", custody.Enabled)}, "version 2 of secret vault-provisioner-token, the newest, is disabled"},
		"new destroyed": {[]custody.Version{v("2", custody.Destroyed)}, "is destroyed, want it enabled"},
	} {
		wants(t, name, newestAlone("vault-provisioner-token", c.versions), c.want)
	}
}

// versionLists is custody that lists other versions each time.
type versionLists struct {
	custody.Store
	lists [][]custody.Version
}

func (v *versionLists) Versions(context.Context, string) ([]custody.Version, error) {
	first := v.lists[0]
	if len(v.lists) > 1 {
		v.lists = v.lists[1:]
	}
	return first, nil
}

func TestSettledVersionsWaitsForAReplacement(t *testing.T) {
	two := []custody.Version{{Name: "2", State: custody.Enabled}, {Name: "1", State: custody.Enabled}}
	one := []custody.Version{{Name: "2", State: custody.Enabled}, {Name: "1", State: custody.Disabled}}
	synctest.Test(t, func(t *testing.T) {
		got, err := settledVersions(t.Context(), &versionLists{lists: [][]custody.Version{two, two, one}}, "x")
		if err != nil || newestAlone("x", got) != nil {
			t.Errorf("a replacement under way: %v, error %v", got, err)
		}
		got, err = settledVersions(t.Context(), &versionLists{lists: [][]custody.Version{two}}, "x")
		if err != nil || newestAlone("x", got) == nil {
			t.Errorf("two versions for good: %v, error %v; want them judged", got, err)
		}
	})
}

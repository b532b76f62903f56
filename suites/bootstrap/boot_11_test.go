package bootstrap

import (
	"encoding/json"
	"testing"
	"time"
)

func goodToken() tokenFields {
	return tokenFields{kind: "service", orphan: true, renewable: true, policies: []string{"provisioner"},
		ttl: 20 * time.Hour, period: 24 * time.Hour, created: time.Unix(1_800_000_000, 0)}
}

func TestFitForProvisioning(t *testing.T) {
	for name, c := range map[string]struct {
		spoil func(*tokenFields)
		want  string
	}{
		"as it should be":   {func(*tokenFields) {}, ""},
		"with default":      {func(t *tokenFields) { t.policies = []string{"default", "provisioner"} }, ""},
		"a child":           {func(t *tokenFields) { t.orphan = false }, "orphan=false, want true"},
		"a batch token":     {func(t *tokenFields) { t.kind = "batch" }, `type "batch", want service`},
		"not periodic":      {func(t *tokenFields) { t.period = 0 }, "has no period"},
		"not renewable":     {func(t *tokenFields) { t.renewable = false }, "renewable=false"},
		"capped":            {func(t *tokenFields) { t.explicitMax = 768 * time.Hour }, "explicit_max_ttl 768h0m0s, want none"},
		"counted":           {func(t *tokenFields) { t.numUses = 5 * time.Second }, "num_uses 5"},
		"root":              {func(t *tokenFields) { t.policies = []string{"root"} }, "policies [root], want [provisioner]"},
		"admin too":         {func(t *tokenFields) { t.policies = []string{"admin", "provisioner"} }, "policies [admin provisioner]"},
		"powerless":         {func(t *tokenFields) { t.policies = nil }, "policies []"},
		"nothing was asked": {func(t *tokenFields) { *t = tokenFields{} }, "orphan=false"},
	} {
		token := goodToken()
		c.spoil(&token)
		wants(t, name, fitForProvisioning(token), c.want)
	}
}

func TestParseToken(t *testing.T) {
	answer := func() map[string]any {
		return map[string]any{"type": "service", "orphan": true, "renewable": true, "policies": []any{"provisioner"}, "role": "provisioner",
			"ttl": json.Number("3600"), "period": json.Number("86400"), "explicit_max_ttl": json.Number("0"), "num_uses": json.Number("0"),
			"creation_time": json.Number("1800000000"), "last_renewal_time": json.Number("1800000060")}
	}
	got, err := parseToken(answer())
	if err != nil || got.ttl != time.Hour || got.period != 24*time.Hour || !got.orphan || !got.renewable || got.role != "provisioner" ||
		got.created.Unix() != 1800000000 || got.renewed.Unix() != 1800000060 {
		t.Errorf("read %+v, error %v", got, err)
	}
	data := answer()
	delete(data, "last_renewal_time")
	if got, err := parseToken(data); err != nil || !got.renewed.IsZero() {
		t.Errorf("a token that was never renewed: %+v, error %v", got, err)
	}
	for field, bad := range map[string]any{"ttl": "soon", "period": true, "creation_time": json.Number("1.5")} {
		data := answer()
		data[field] = bad
		if _, err := parseToken(data); err == nil {
			t.Errorf("%s of %v was read", field, bad)
		}
	}
}

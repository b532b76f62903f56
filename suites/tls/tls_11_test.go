package tls

import (
	"fmt"
	"testing"
	"time"

	"github.com/vaultproof/vaultproof/pkg/alert"
	"github.com/vaultproof/vaultproof/pkg/issuer"
)

func TestRenewedInTime(t *testing.T) {
	for name, c := range map[string]struct {
		life time.Duration
		in   time.Duration
		want string
	}{
		"a quarter":            {90 * 24 * time.Hour, time.Hour, ""},
		"overdue":              {90 * 24 * time.Hour, 84 * 24 * time.Hour, "renewal is overdue"},
		"expired":              {90 * 24 * time.Hour, 91 * 24 * time.Hour, "renewal is overdue"},
		"a day is its life":    {24 * time.Hour, time.Hour, ""},
		"of a day little left": {24 * time.Hour, 20 * time.Hour, "renewal is overdue"},
	} {
		_, pair := certified(t, c.life, "vault")
		leaf, err := issuer.Leaf(pair.Cert)
		if err != nil {
			t.Fatal(err)
		}
		says(t, name, renewed("vault-0", leaf, time.Now().Add(c.in)), c.want)
	}
}

func rulesOf(t *testing.T, expr, wait string) alert.Rules {
	t.Helper()
	rules, err := alert.Parse([]byte(fmt.Sprintf("groups:\n- name: g\n  rules:\n  - alert: Certificate\n    expr: %s\n    for: %s\n  - alert: Other\n    expr: up == 0\n", expr, wait)))
	if err != nil {
		t.Fatal(err)
	}
	return rules
}

func TestARuleThatWarns(t *testing.T) {
	for name, c := range map[string]struct {
		expr, wait, want string
	}{
		"a week":         {"vaultproof_certificate_ttl_seconds < 7 * 86400", "5m", ""},
		"a fortnight":    {"vaultproof_certificate_ttl_seconds < 14 * 86400", "0s", ""},
		"a day":          {"vaultproof_certificate_ttl_seconds < 86400", "5m", "does not warn a week ahead"},
		"always":         {"vaultproof_certificate_ttl_seconds > 0", "5m", "does not warn a week ahead"},
		"something else": {"vaultproof_token_ttl_seconds < 7 * 86400", "5m", "no alert rule looks at"},
		"the wrong way":  {"vaultproof_certificate_ttl_seconds > 7 * 86400", "5m", "does not warn a week ahead"},
	} {
		_, err := warns(t.Context(), rulesOf(t, c.expr, c.wait))
		says(t, name, err, c.want)
	}
}

func TestTheStockRulesWarn(t *testing.T) {
	rules, err := alert.Stock()
	if err != nil {
		t.Fatal(err)
	}
	if _, err := warns(t.Context(), rules); err != nil {
		t.Error(err)
	}
}

func TestTheMetricIsOfThisCertificate(t *testing.T) {
	_, pair := certified(t, 1000*time.Second, "vault")
	leaf, err := issuer.Leaf(pair.Cert)
	if err != nil {
		t.Fatal(err)
	}
	names := []string{"vaultproof_certificate_ttl_seconds"}
	for name, c := range map[string]struct{ metrics, want string }{
		"it is":           {"# HELP x\nvaultproof_certificate_ttl_seconds 990.5\n", ""},
		"with labels":     {"vaultproof_certificate_ttl_seconds{pod=\"vault-0\"} 1000\n", ""},
		"another one's":   {"vaultproof_certificate_ttl_seconds 7776000\n", "looks at something else"},
		"not there":       {"vaultproof_certificate_ttl_seconds_total 1000\nup 1\n", "can never fire"},
		"not a number":    {"vaultproof_certificate_ttl_seconds x\n", "can never fire"},
		"nothing exports": {"", "can never fire"},
	} {
		says(t, name, measures("vault-0", names, c.metrics, leaf, time.Now()), c.want)
	}
}

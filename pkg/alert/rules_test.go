package alert

import (
	"slices"
	"strings"
	"testing"
	"time"
)

func TestParse(t *testing.T) {
	rules, err := Parse([]byte(`groups: [{name: g, rules: [
  {alert: A, expr: 'sum by (pod) (increase(b_total[5m])) > 0 unless on (pod) a == 1 or absent(a)', for: 1m, keep_firing_for: 2m, labels: {severity: page}},
  {alert: B, expr: 'vector(1) > 0'}]}]`))
	if err != nil {
		t.Fatal(err)
	}
	a := rules[0]
	if a.For != time.Minute || a.KeepFiring != 2*time.Minute || a.Labels["severity"] != "page" || !slices.Equal(a.Metrics, []string{"a", "b_total"}) {
		t.Errorf("rule %+v", a)
	}
	if got := rules.Metrics(); !slices.Equal(got, []string{"a", "b_total"}) {
		t.Errorf("metrics %v", got)
	}
	if _, ok := rules.Named("B"); !ok || len(rules) != 2 {
		t.Error("rule B is missing")
	}
	if _, ok := rules.Named("C"); ok {
		t.Error("there is no rule C")
	}
}

func TestParseRefuses(t *testing.T) {
	for name, c := range map[string]struct{ file, want string }{
		"no YAML":           {"groups: [", "reading alert rules"},
		"no PromQL":         {"groups: [{name: g, rules: [{alert: A, expr: 'sum('}]}]", "could not parse expression"},
		"a broken template": {"groups: [{name: g, rules: [{alert: A, expr: 'a', annotations: {summary: '{{ $labels.pod'}}]}]", "unclosed action"},
		"an unknown field":  {"groups: [{name: g, rules: [{alert: A, expr: 'a', until: 1m}]}]", "until"},
		"a recording rule":  {"groups: [{name: g, rules: [{record: 'a:b', expr: 'a'}]}]", "recording rule a:b"},
		"nothing":           {"groups: []", "no alerting rule"},
	} {
		if _, err := Parse([]byte(c.file)); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: error %v, want %q", name, err, c.want)
		}
	}
}

func TestStockRulesAreOfTheStack(t *testing.T) {
	rules, err := Stock()
	if err != nil {
		t.Fatal(err)
	}
	for _, r := range rules {
		for _, name := range r.Metrics {
			if name != "up" && !strings.HasPrefix(name, "vaultproof_") && !strings.HasPrefix(name, "vault_") {
				t.Errorf("alert %s looks at %s, which neither Vault nor its sidecar exports", r.Alert, name)
			}
		}
	}
}

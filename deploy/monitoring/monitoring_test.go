package monitoring

import (
	"bytes"
	"flag"
	"os"
	"strings"
	"testing"

	"sigs.k8s.io/yaml"
)

var update = flag.Bool("update", false, "write the generated file anew")

func TestPrometheusRuleIsMadeFromTheRules(t *testing.T) {
	want, err := PrometheusRule()
	if err != nil {
		t.Fatal(err)
	}
	if *update {
		if err := os.WriteFile(PrometheusRuleFile, want, 0o644); err != nil {
			t.Fatal(err)
		}
		return
	}
	have, err := FS.ReadFile(PrometheusRuleFile)
	if err != nil || !bytes.Equal(have, want) {
		t.Errorf("%s is not what %s says (error %v): run go generate ./deploy/monitoring", PrometheusRuleFile, RulesFile, err)
	}
}

func TestPrometheusRuleHasTheFormOfTheOperator(t *testing.T) {
	object, err := PrometheusRule()
	if err != nil {
		t.Fatal(err)
	}
	var rule struct {
		APIVersion, Kind string
		Metadata         struct{ Name string }
		Spec             struct {
			Groups []struct {
				Name  string
				Rules []struct {
					Alert, Expr         string
					Labels, Annotations map[string]string
				}
			}
		}
	}
	if err := yaml.Unmarshal(object, &rule); err != nil {
		t.Fatal(err)
	}
	if rule.APIVersion != "monitoring.coreos.com/v1" || rule.Kind != "PrometheusRule" || rule.Metadata.Name == "" || len(rule.Spec.Groups) == 0 {
		t.Fatalf("the object is %+v", rule)
	}
	for _, g := range rule.Spec.Groups {
		for _, r := range g.Rules {
			if !strings.HasPrefix(r.Alert, "Vault") || r.Annotations["summary"] == "" || r.Annotations["action"] == "" {
				t.Errorf("alert %q says too little: %v", r.Alert, r.Annotations)
			}
			if s := r.Labels["severity"]; s != "page" && s != "ticket" {
				t.Errorf("alert %s has severity %q, want page or ticket", r.Alert, s)
			}
		}
	}
}

func TestEveryFileIsYAML(t *testing.T) {
	files, err := FS.ReadDir(".")
	if err != nil || len(files) < 5 {
		t.Fatalf("%d files are embedded, error %v", len(files), err)
	}
	for _, f := range files {
		text, err := FS.ReadFile(f.Name())
		if err != nil {
			t.Fatal(err)
		}
		for n, document := range strings.Split(string(text), "\n---\n") {
			var content map[string]any
			if err := yaml.UnmarshalStrict([]byte(document), &content); err != nil || len(content) == 0 {
				t.Errorf("document %d of %s: %d keys, error %v", n+1, f.Name(), len(content), err)
			}
		}
	}
}

// TestScrapesBearWhatTheRulesLookAt: both ways of scraping give the jobs their names.
func TestScrapesBearWhatTheRulesLookAt(t *testing.T) {
	for _, name := range []string{"podmonitor.yaml", "scrape.yaml"} {
		text, err := FS.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		for _, want := range []string{"vault-sidecar\n", "/v1/sys/metrics", "vault-active.vault.svc", "scheme: https"} {
			if !bytes.Contains(text, []byte(want)) {
				t.Errorf("%s lacks %q", name, want)
			}
		}
	}
}

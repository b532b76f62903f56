// Package monitoring carries the alert rules for the hardened stack and what a
// Prometheus needs to see it. Nothing of it is applied by the deployer: whoever
// runs a Prometheus takes from it what fits.
package monitoring

import (
	"embed"
	"fmt"

	"sigs.k8s.io/yaml"
)

// FS holds the files of this directory.
//
//go:embed *.yaml
var FS embed.FS

// The files in FS.
const (
	// RulesFile is the one source of the rules, as plain Prometheus reads it.
	RulesFile = "rules.yaml"
	// PrometheusRuleFile is made from it, for the Prometheus operator.
	PrometheusRuleFile = "prometheusrule.yaml"
	// CasesFile shows when each rule fires, on made-up series.
	CasesFile = "cases.yaml"
)

// Rules returns the rules in the form of a Prometheus rule file.
func Rules() ([]byte, error) { return FS.ReadFile(RulesFile) }

// Cases returns the cases of the rules.
func Cases() ([]byte, error) { return FS.ReadFile(CasesFile) }

// header says where the generated file comes from.
const header = "# Made from rules.yaml by go generate; change that one.\n"

//go:generate go test . -run TestPrometheusRuleIsMadeFromTheRules -update

// PrometheusRule returns the same rules as an object of the Prometheus operator.
func PrometheusRule() ([]byte, error) {
	rules, err := Rules()
	if err != nil {
		return nil, fmt.Errorf("reading the rules: %w", err)
	}
	var spec map[string]any
	if err := yaml.UnmarshalStrict(rules, &spec); err != nil {
		return nil, fmt.Errorf("parsing %s: %w", RulesFile, err)
	}
	object, err := yaml.Marshal(map[string]any{
		"apiVersion": "monitoring.coreos.com/v1",
		"kind":       "PrometheusRule",
		"metadata": map[string]any{
			"name":      "vaultproof",
			"namespace": "vault",
			"labels": map[string]any{
				"app.kubernetes.io/name":       "vault",
				"app.kubernetes.io/managed-by": "vaultproof",
			},
		},
		"spec": spec,
	})
	if err != nil {
		return nil, fmt.Errorf("encoding the PrometheusRule: %w", err)
	}
	return append([]byte(header), object...), nil
}

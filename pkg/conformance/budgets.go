package conformance

import (
	_ "embed"
	"fmt"
	"os"
	"time"

	"sigs.k8s.io/yaml"
)

//go:embed budgets.yaml
var budgetsYAML []byte

// Budgets are how long an outage may last, by check id.
type Budgets map[string]time.Duration

// LoadBudgets reads the budgets in the file at path over the built-in ones. An
// empty path means the built-in ones alone.
func LoadBudgets(path string) (Budgets, error) {
	budgets, err := parseBudgets(budgetsYAML)
	if err != nil {
		return nil, fmt.Errorf("the built-in budgets: %w", err)
	}
	if path == "" {
		return budgets, nil
	}
	data, err := os.ReadFile(path)
	if err != nil {
		return nil, fmt.Errorf("reading the budgets given with -budgets: %w", err)
	}
	own, err := parseBudgets(data)
	if err != nil {
		return nil, fmt.Errorf("the budgets in %s: %w", path, err)
	}
	for id, budget := range own {
		budgets[id] = budget
	}
	return budgets, nil
}

func parseBudgets(data []byte) (Budgets, error) {
	text := map[string]string{}
	if err := yaml.UnmarshalStrict(data, &text); err != nil {
		return nil, fmt.Errorf("not a list of \"ID: duration\": %w", err)
	}
	budgets := Budgets{}
	for id, value := range text {
		if !idForm.MatchString(id) {
			return nil, fmt.Errorf("%q is no check id such as RES-01", id)
		}
		budget, err := time.ParseDuration(value)
		if err != nil || budget <= 0 {
			return nil, fmt.Errorf("%s: %q is no positive duration such as 1.5s", id, value)
		}
		budgets[id] = budget
	}
	return budgets, nil
}

package alert

import (
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"time"

	"github.com/prometheus/common/model"
	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/model/rulefmt"
	"github.com/prometheus/prometheus/promql/parser"

	"github.com/vaultproof/vaultproof/deploy/monitoring"
)

// language reads PromQL as a Prometheus without experimental features does.
var language = parser.NewParser(parser.Options{})

// Rule is one alerting rule.
type Rule struct {
	Alert string
	Expr  string
	// For is how long Expr must hold before the alert fires; KeepFiring how long it
	// goes on firing afterwards.
	For, KeepFiring time.Duration
	Labels          map[string]string
	// Metrics are the names that Expr looks at, sorted.
	Metrics []string
}

// Rules are alerting rules in the order of their file.
type Rules []Rule

// Stock returns the rules that are shipped with the stack.
func Stock() (Rules, error) {
	text, err := monitoring.Rules()
	if err != nil {
		return nil, fmt.Errorf("reading the rules of the stack: %w", err)
	}
	return Parse(text)
}

// Parse reads a Prometheus rule file and checks it as Prometheus does, the
// templates included. Recording rules are not understood.
func Parse(file []byte) (Rules, error) {
	groups, errs := rulefmt.Parse(file, false, model.UTF8Validation, language, slog.New(slog.DiscardHandler))
	if len(errs) > 0 {
		return nil, fmt.Errorf("reading alert rules: %w", errors.Join(errs...))
	}
	var rules Rules
	for _, g := range groups.Groups {
		for _, r := range g.Rules {
			if r.Alert == "" {
				return nil, fmt.Errorf("group %s has recording rule %s: only alerting rules can be judged", g.Name, r.Record)
			}
			names, err := metricsOf(r.Expr)
			if err != nil {
				return nil, fmt.Errorf("alert %s: %w", r.Alert, err)
			}
			rules = append(rules, Rule{
				Alert: r.Alert, Expr: r.Expr, For: time.Duration(r.For), KeepFiring: time.Duration(r.KeepFiringFor),
				Labels: r.Labels, Metrics: names,
			})
		}
	}
	if len(rules) == 0 {
		return nil, errors.New("the file holds no alerting rule")
	}
	return rules, nil
}

// metricsOf names the metrics that an expression selects.
func metricsOf(expr string) ([]string, error) {
	tree, err := language.ParseExpr(expr)
	if err != nil {
		return nil, fmt.Errorf("parsing its expression: %w", err)
	}
	var names []string
	parser.Inspect(tree, func(n parser.Node, _ []parser.Node) error {
		selector, ok := n.(*parser.VectorSelector)
		if !ok {
			return nil
		}
		for _, m := range selector.LabelMatchers {
			if m.Name == model.MetricNameLabel && m.Type == labels.MatchEqual {
				names = append(names, m.Value)
			}
		}
		return nil
	})
	slices.Sort(names)
	return slices.Compact(names), nil
}

// Metrics names all that the rules look at, sorted.
func (rs Rules) Metrics() []string {
	var names []string
	for _, r := range rs {
		names = append(names, r.Metrics...)
	}
	slices.Sort(names)
	return slices.Compact(names)
}

// Named returns the rule of an alert.
func (rs Rules) Named(alert string) (Rule, bool) {
	i := slices.IndexFunc(rs, func(r Rule) bool { return r.Alert == alert })
	if i < 0 {
		return Rule{}, false
	}
	return rs[i], true
}

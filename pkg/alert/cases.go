package alert

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/prometheus/common/model"
	"sigs.k8s.io/yaml"

	"github.com/vaultproof/vaultproof/deploy/monitoring"
)

// Case is made-up series, and when a rule is to fire on them.
type Case struct {
	Name  string `json:"name"`
	Alert string `json:"alert"`
	// Series by name and labels, as values in the notation of Prometheus' tests.
	Series map[string]string `json:"series"`
	// Fires is how long after the first value; empty if it must not.
	Fires string `json:"fires"`
}

// Cases are the cases of a file.
type Cases struct {
	// Interval between two values, and between two evaluations.
	Interval string `json:"interval"`
	Cases    []Case `json:"cases"`
}

// StockCases returns the cases that are shipped with the rules.
func StockCases() (Cases, error) {
	text, err := monitoring.Cases()
	if err != nil {
		return Cases{}, fmt.Errorf("reading the cases of the rules: %w", err)
	}
	return ParseCases(text)
}

// ParseCases reads a file of cases.
func ParseCases(file []byte) (Cases, error) {
	var c Cases
	if err := yaml.UnmarshalStrict(file, &c); err != nil {
		return c, fmt.Errorf("reading the cases of the rules: %w", err)
	}
	return c, nil
}

// beginning is an arbitrary instant at which made-up series begin.
var beginning = time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)

// Prove runs every case over the rules: each must fire when it is to and at no
// other time, and each rule must have one case in which it fires and one in which
// it does not.
func Prove(ctx context.Context, rules Rules, cases Cases) error {
	every, err := duration(cases.Interval)
	if err != nil {
		return fmt.Errorf("the interval of the cases: %w", err)
	}
	type proof struct{ fires, silent bool }
	proved := map[string]*proof{}
	for _, r := range rules {
		proved[r.Alert] = &proof{}
	}
	var errs []error
	for _, c := range cases.Cases {
		rule, ok := rules.Named(c.Alert)
		if !ok {
			errs = append(errs, fmt.Errorf("case %q is of alert %s, which is no rule", c.Name, c.Alert))
			continue
		}
		if err := c.run(ctx, rule, every); err != nil {
			errs = append(errs, fmt.Errorf("alert %s, case %q: %w", c.Alert, c.Name, err))
			continue
		}
		p := proved[c.Alert]
		p.fires, p.silent = p.fires || c.Fires != "", p.silent || c.Fires == ""
	}
	for _, r := range rules {
		if p := proved[r.Alert]; !p.fires || !p.silent {
			errs = append(errs, fmt.Errorf("alert %s is not proved: a case fires: %t, a case stays silent: %t; want both", r.Alert, p.fires, p.silent))
		}
	}
	return errors.Join(errs...)
}

// run replays one case and compares.
func (c Case) run(ctx context.Context, rule Rule, every time.Duration) error {
	series, end, err := c.series(every)
	if err != nil {
		return err
	}
	fired, err := Replay(ctx, Rules{rule}, series, Span{From: beginning, To: end, Every: every})
	if err != nil {
		return err
	}
	switch {
	case c.Fires == "" && len(fired) > 0:
		return fmt.Errorf("it fires after %s with %v, want it silent", fired[0].At.Sub(beginning), fired[0].Labels)
	case c.Fires == "":
		return nil
	case len(fired) == 0:
		return fmt.Errorf("it never fires, want it after %s", c.Fires)
	}
	want, err := duration(c.Fires)
	if err != nil {
		return err
	}
	if got := fired[0].At.Sub(beginning); got != want {
		return fmt.Errorf("it fires after %s, want %s", got, want)
	}
	return nil
}

// series makes the series of a case, and tells when the longest ends.
func (c Case) series(every time.Duration) (*Series, time.Time, error) {
	series, end := NewSeries(), beginning
	for name, text := range c.Series {
		metric, values, err := language.ParseSeriesDesc(name + " " + text)
		if err != nil {
			return nil, end, fmt.Errorf("series %s with the values %q: %w", name, text, err)
		}
		for i, v := range values {
			at := beginning.Add(time.Duration(i) * every)
			if at.After(end) {
				end = at
			}
			if !v.Omitted {
				series.add(metric, at, v.Value)
			}
		}
	}
	return series, end, nil
}

func duration(text string) (time.Duration, error) {
	d, err := model.ParseDuration(text)
	if err != nil {
		return 0, fmt.Errorf("%q is no duration such as 1m30s: %w", text, err)
	}
	return time.Duration(d), nil
}

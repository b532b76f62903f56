package alert

import (
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/prometheus/common/model"
	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/promql"
)

const (
	// lookback is for how long a sample counts if none follows it, as in Prometheus.
	lookback = 5 * time.Minute
	// maxSamples bounds one evaluation.
	maxSamples = 1 << 22
	// evaluationTimeout bounds one evaluation.
	evaluationTimeout = 30 * time.Second
)

// Firing is one alert that fired.
type Firing struct {
	Alert string
	// Labels of the alert, those of the series and of the rule.
	Labels map[string]string
	// Since is when the rule's expression began to hold, At when the alert fired.
	Since, At time.Time
	// Until is when it was over; zero if it was firing at the end.
	Until time.Time
}

// Span is a time to look at.
type Span struct {
	From, To time.Time
	// Every is how long it is between two evaluations.
	Every time.Duration
}

// Replay evaluates the rules over the series with Prometheus' engine, as a
// Prometheus would have done during the span, and returns what fired, by time.
func Replay(ctx context.Context, rules Rules, series *Series, span Span) ([]Firing, error) {
	engine := promql.NewEngine(promql.EngineOpts{
		MaxSamples: maxSamples, Timeout: evaluationTimeout, LookbackDelta: lookback, Parser: language,
		NoStepSubqueryIntervalFn: func(int64) int64 { return span.Every.Milliseconds() },
		EnableAtModifier:         true, EnableNegativeOffset: true,
	})
	defer engine.Close()
	var fired []Firing
	for _, r := range rules {
		state := &watch{rule: r, active: map[uint64]*pending{}}
		for at := span.From; !at.After(span.To); at = at.Add(span.Every) {
			vector, err := evaluate(ctx, engine, series, r.Expr, at)
			if err != nil {
				return nil, fmt.Errorf("evaluating alert %s: %w", r.Alert, err)
			}
			if err := state.step(vector, at); err != nil {
				return nil, err
			}
		}
		fired = append(fired, state.end()...)
	}
	slices.SortStableFunc(fired, func(a, b Firing) int { return a.At.Compare(b.At) })
	return fired, nil
}

func evaluate(ctx context.Context, engine *promql.Engine, series *Series, expr string, at time.Time) (promql.Vector, error) {
	query, err := engine.NewInstantQuery(ctx, series, nil, expr, at)
	if err != nil {
		return nil, fmt.Errorf("preparing its expression: %w", err)
	}
	defer query.Close()
	vector, err := query.Exec(ctx).Vector()
	if err != nil {
		return nil, err
	}
	return slices.Clone(vector), nil // the query's own is reused
}

// watch goes through the states of one rule's alerts. It does what Prometheus'
// package rules does with For and KeepFiring; that package itself would bring
// every notifier and cloud client of Prometheus along.
type watch struct {
	rule   Rule
	active map[uint64]*pending
	fired  []Firing
}

// pending is an alert whose expression holds or held.
type pending struct {
	labels     labels.Labels
	since      time.Time
	at         time.Time // of firing; zero while it waits
	goneSince  time.Time // set while KeepFiring alone makes it fire
	stillHolds bool
}

func (w *watch) step(vector promql.Vector, at time.Time) error {
	for _, p := range w.active {
		p.stillHolds = false
	}
	seen := map[uint64]bool{}
	for _, sample := range vector {
		alert := w.labelled(sample.Metric)
		key := alert.Hash()
		if seen[key] {
			return fmt.Errorf("alert %s: its expression gives two series with the labels %s, which Prometheus refuses", w.rule.Alert, alert)
		}
		seen[key] = true
		if w.active[key] == nil {
			w.active[key] = &pending{labels: alert, since: at}
		}
		w.active[key].stillHolds, w.active[key].goneSince = true, time.Time{}
	}
	for key, p := range w.active {
		switch {
		case p.stillHolds && p.at.IsZero() && at.Sub(p.since) >= w.rule.For:
			p.at = at
		case p.stillHolds:
		case p.at.IsZero():
			delete(w.active, key)
		default:
			if p.goneSince.IsZero() {
				p.goneSince = at
			}
			if at.Sub(p.goneSince) >= w.rule.KeepFiring {
				w.record(p, at)
				delete(w.active, key)
			}
		}
	}
	return nil
}

// labelled are the labels of the alert for a series.
func (w *watch) labelled(series labels.Labels) labels.Labels {
	b := labels.NewBuilder(series).Del(model.MetricNameLabel)
	for name, v := range w.rule.Labels {
		b.Set(name, v)
	}
	return b.Labels()
}

func (w *watch) record(p *pending, until time.Time) {
	w.fired = append(w.fired, Firing{Alert: w.rule.Alert, Labels: p.labels.Map(), Since: p.since, At: p.at, Until: until})
}

// end records what is firing still, and returns all.
func (w *watch) end() []Firing {
	for _, p := range w.active {
		if !p.at.IsZero() {
			w.record(p, time.Time{})
		}
	}
	return w.fired
}

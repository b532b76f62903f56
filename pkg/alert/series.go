package alert

import (
	"context"
	"maps"
	"math"
	"slices"
	"time"

	"github.com/prometheus/common/model"
	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/model/value"
	"github.com/prometheus/prometheus/promql"
	"github.com/prometheus/prometheus/storage"
	"github.com/prometheus/prometheus/util/annotations"
)

// stale is the value by which Prometheus marks the end of a series.
var stale = math.Float64frombits(value.StaleNaN)

// Series are time series in memory, which rules can be replayed over.
type Series struct {
	byLabels map[uint64]*promql.Series
}

// NewSeries makes an empty set.
func NewSeries() *Series { return &Series{byLabels: map[uint64]*promql.Series{}} }

// add appends a sample. Samples of a series come in the order of time; a second one
// of the same instant is dropped, as Prometheus does.
func (s *Series) add(metric labels.Labels, at time.Time, v float64) {
	series := s.byLabels[metric.Hash()]
	if series == nil {
		series = &promql.Series{Metric: metric}
		s.byLabels[metric.Hash()] = series
	}
	ms := at.UnixMilli()
	if n := len(series.Floats); n > 0 && series.Floats[n-1].T >= ms {
		return
	}
	series.Floats = append(series.Floats, promql.FPoint{T: ms, F: v})
}

// Has tells whether a metric of that name has any sample.
func (s *Series) Has(name string) bool {
	for _, series := range s.byLabels {
		if series.Metric.Get(model.MetricNameLabel) == name {
			return true
		}
	}
	return false
}

// Querier implements storage.Queryable.
func (s *Series) Querier(int64, int64) (storage.Querier, error) { return querier{s}, nil }

type querier struct{ *Series }

// Select implements storage.Querier. The engine takes of each series what it needs.
func (q querier) Select(_ context.Context, sorted bool, _ *storage.SelectHints, matchers ...*labels.Matcher) storage.SeriesSet {
	var found []*promql.Series
	for _, series := range q.byLabels {
		if !slices.ContainsFunc(matchers, func(m *labels.Matcher) bool { return !m.Matches(series.Metric.Get(m.Name)) }) {
			found = append(found, series)
		}
	}
	if sorted {
		slices.SortFunc(found, func(a, b *promql.Series) int { return labels.Compare(a.Metric, b.Metric) })
	}
	return &seriesSet{series: found}
}

// LabelValues implements storage.LabelQuerier. Rules do not ask for it.
func (q querier) LabelValues(_ context.Context, name string, _ *storage.LabelHints, _ ...*labels.Matcher) ([]string, annotations.Annotations, error) {
	values := map[string]bool{}
	for _, series := range q.byLabels {
		values[series.Metric.Get(name)] = true
	}
	delete(values, "")
	return slices.Sorted(maps.Keys(values)), nil, nil
}

// LabelNames implements storage.LabelQuerier. Rules do not ask for it.
func (q querier) LabelNames(context.Context, *storage.LabelHints, ...*labels.Matcher) ([]string, annotations.Annotations, error) {
	names := map[string]bool{}
	for _, series := range q.byLabels {
		series.Metric.Range(func(l labels.Label) { names[l.Name] = true })
	}
	return slices.Sorted(maps.Keys(names)), nil, nil
}

// Close implements storage.Querier.
func (querier) Close() error { return nil }

type seriesSet struct {
	series []*promql.Series
	next   int
}

// Next implements storage.SeriesSet, and so do the others.
func (s *seriesSet) Next() bool {
	s.next++
	return s.next <= len(s.series)
}
func (s *seriesSet) At() storage.Series              { return promql.NewStorageSeries(*s.series[s.next-1]) }
func (*seriesSet) Err() error                        { return nil }
func (*seriesSet) Warnings() annotations.Annotations { return nil }

package alert

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math"
	"os"
	"time"

	"github.com/prometheus/common/model"
	"github.com/prometheus/prometheus/model/labels"
)

// File is the recording of a run, in its directory: newline-delimited JSON, one
// Scrape a line.
const File = "metrics.ndjson"

// The jobs that the rules know.
const (
	SidecarJob = "vault-sidecar"
	VaultJob   = "vault"
)

// Scrape is one look at one target.
type Scrape struct {
	At  time.Time `json:"at"`
	Job string    `json:"job"`
	Pod string    `json:"pod"`
	// Up is whether it answered with metrics; Error says why not.
	Up    bool   `json:"up"`
	Error string `json:"error,omitempty"`
	// Gone means that it is no target any more, such as a Vault that is not
	// active: nothing was asked.
	Gone bool `json:"gone,omitempty"`
	// Samples by series, name{labels}, without job, namespace and pod.
	Samples map[string]float64 `json:"samples,omitempty"`
}

// Recording is what a run recorded.
type Recording struct {
	Series *Series
	// From and To are the first and the last scrape.
	From, To time.Time
	// Refused are the errors of scrapes of Vault, the last by pod.
	Refused map[string]string
}

// Load reads the recording at path. Its pods are in the namespace.
func Load(path, namespace string) (*Recording, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, fmt.Errorf("opening the recorded metrics: %w", err)
	}
	defer f.Close()
	return read(f, namespace)
}

// read takes a last line that was cut short for the end.
func read(r io.Reader, namespace string) (*Recording, error) {
	p := &player{namespace: namespace, recording: &Recording{Series: NewSeries(), Refused: map[string]string{}}, present: map[string][]labels.Labels{}}
	in := bufio.NewReader(r)
	for n := 1; ; n++ {
		line, err := in.ReadBytes('\n')
		if err != nil && !errors.Is(err, io.EOF) {
			return nil, fmt.Errorf("reading the recorded metrics at line %d: %w", n, err)
		}
		last := err != nil
		if len(bytes.TrimSpace(line)) > 0 {
			var s Scrape
			if err := json.Unmarshal(line, &s); err == nil {
				err = p.play(s)
				if err != nil {
					return nil, fmt.Errorf("reading the recorded metrics at line %d: %w", n, err)
				}
			} else if !last {
				return nil, fmt.Errorf("reading the recorded metrics: line %d is no scrape: %w", n, err)
			}
		}
		if last {
			return p.recording, nil
		}
	}
}

// player turns scrapes into series as Prometheus does: with the target's labels,
// the series up, and a stale mark where a series ends.
type player struct {
	namespace string
	recording *Recording
	present   map[string][]labels.Labels // of the last scrape, by target
}

func (p *player) play(s Scrape) error {
	rec := p.recording
	if rec.From.IsZero() || s.At.Before(rec.From) {
		rec.From = s.At
	}
	if s.At.After(rec.To) {
		rec.To = s.At
	}
	if s.Error != "" && s.Job == VaultJob {
		rec.Refused[s.Pod] = s.Error
	}
	var now []labels.Labels
	if !s.Gone {
		up := 0.0
		if s.Up {
			up = 1
		}
		now = append(now, p.metric(labels.FromStrings(model.MetricNameLabel, "up"), s))
		rec.Series.add(now[0], s.At, up)
	}
	for name, v := range s.Samples {
		metric, err := language.ParseMetric(name)
		if err != nil {
			return fmt.Errorf("series %s: %w", name, err)
		}
		metric = p.metric(metric, s)
		rec.Series.add(metric, s.At, v)
		now = append(now, metric)
	}
	target := s.Job + "/" + s.Pod
	for _, before := range p.present[target] {
		if !containsMetric(now, before) {
			rec.Series.add(before, s.At, stale)
		}
	}
	p.present[target] = now
	return nil
}

func containsMetric(list []labels.Labels, m labels.Labels) bool {
	for _, l := range list {
		if labels.Equal(l, m) {
			return true
		}
	}
	return false
}

func (p *player) metric(of labels.Labels, s Scrape) labels.Labels {
	return labels.NewBuilder(of).Set("job", s.Job).Set("namespace", p.namespace).Set("pod", s.Pod).Labels()
}

// Blind names the rules that look at a metric which the recording does not have,
// and that metric: such a rule never fires. Counters that come with their first
// count are named by onDemand.
func (r *Recording) Blind(rules Rules) map[string]string {
	blind := map[string]string{}
	for _, rule := range rules {
		for _, name := range rule.Metrics {
			if !onDemand[name] && !r.Series.Has(name) {
				blind[rule.Alert] = name
			}
		}
	}
	return blind
}

// onDemand are counters with labels that have no series before something was
// counted, so that their absence is the best news.
var onDemand = map[string]bool{
	"vaultproof_label_errors_total":   true,
	"vaultproof_label_repairs_total":  true,
	"vaultproof_custody_errors_total": true,
	"vault_audit_sink_failure":        true,
	"vaultproof_last_unseal_seconds":  true, // after the first unseal that this sidecar saw
}

// writer appends scrapes to a stream, one line each.
type writer struct{ out io.Writer }

func (w writer) write(s Scrape) error {
	for name, v := range s.Samples {
		if math.IsNaN(v) || math.IsInf(v, 0) {
			delete(s.Samples, name) // JSON has no such number, and no rule needs it
		}
	}
	line, err := json.Marshal(s)
	if err != nil {
		return fmt.Errorf("encoding a scrape: %w", err)
	}
	if _, err := w.out.Write(append(line, '\n')); err != nil {
		return fmt.Errorf("writing a scrape: %w", err)
	}
	return nil
}

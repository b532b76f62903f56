package alert

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"slices"
	"strconv"
	"time"

	"github.com/prometheus/common/expfmt"
	"github.com/prometheus/common/model"
	"github.com/prometheus/prometheus/model/labels"

	"github.com/vaultproof/vaultproof/pkg/target"
)

const (
	// scrapeTimeout bounds one scrape.
	scrapeTimeout = 3 * time.Second
	// bodyLimit bounds what is read of one answer, in bytes.
	bodyLimit = 8 << 20
	// sidecarPort is where the sidecar serves, unless the template says otherwise.
	sidecarPort = 8210
	// sidecarPortName is what the template calls that port.
	sidecarPortName = "status"
)

// endpoint is one thing to scrape.
type endpoint struct {
	client *http.Client
	url    string
	// token is asked for at every scrape; nil where none is needed.
	token func() string
}

// endpointOf reaches a path of a pod through the API server, with its certificate
// verified. The connection is kept between scrapes.
func endpointOf(t *target.Target, pod string, port int, path string) (*endpoint, error) {
	scheme := "https" // the sidecar speaks nothing else
	if port == target.VaultPort {
		scheme = t.Scheme()
	}
	transport := &http.Transport{
		MaxIdleConns: 1, IdleConnTimeout: time.Minute,
		DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) { return t.DialPod(ctx, pod, port) },
	}
	if scheme == "https" {
		var err error
		if transport.TLSClientConfig, err = t.TLS(); err != nil {
			return nil, err
		}
	}
	return &endpoint{
		client: &http.Client{Transport: transport, CheckRedirect: noRedirect},
		url:    scheme + "://" + net.JoinHostPort(t.ServerName, strconv.Itoa(port)) + path,
	}, nil
}

// noRedirect keeps the answer that of this pod.
func noRedirect(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }

// scrape asks once, and keeps the metrics of the names given.
func (e *endpoint) scrape(ctx context.Context, names []string) (map[string]float64, error) {
	ctx, cancel := context.WithTimeout(ctx, scrapeTimeout)
	defer cancel()
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, e.url, http.NoBody)
	if err != nil {
		return nil, fmt.Errorf("preparing a scrape: %w", err)
	}
	if e.token != nil {
		request.Header.Set("X-Vault-Token", e.token())
	}
	answer, err := e.client.Do(request)
	if err != nil {
		e.client.CloseIdleConnections()
		return nil, fmt.Errorf("scraping: %w", err)
	}
	defer answer.Body.Close()
	if answer.StatusCode != http.StatusOK {
		return nil, fmt.Errorf("scraping: the answer is %s", answer.Status)
	}
	return samples(io.LimitReader(answer.Body, bodyLimit), names)
}

func (e *endpoint) close() { e.client.CloseIdleConnections() }

// samples reads Prometheus' text format. Of summaries and histograms nothing is
// kept: no rule looks at them.
func samples(body io.Reader, names []string) (map[string]float64, error) {
	parser := expfmt.NewTextParser(model.UTF8Validation)
	families, err := parser.TextToMetricFamilies(body)
	if err != nil {
		return nil, fmt.Errorf("parsing metrics: %w", err)
	}
	if len(families) == 0 {
		return nil, errors.New("the answer holds no metric")
	}
	found := map[string]float64{}
	for _, name := range names {
		for _, m := range families[name].GetMetric() {
			series := labels.NewBuilder(labels.EmptyLabels())
			for _, l := range m.GetLabel() {
				series.Set(l.GetName(), l.GetValue())
			}
			key := seriesName(name, series.Labels())
			switch {
			case m.GetGauge() != nil:
				found[key] = m.GetGauge().GetValue()
			case m.GetCounter() != nil:
				found[key] = m.GetCounter().GetValue()
			case m.GetUntyped() != nil:
				found[key] = m.GetUntyped().GetValue()
			}
		}
	}
	return found, nil
}

// seriesName is name{labels} as PromQL writes it.
func seriesName(name string, of labels.Labels) string {
	if of.IsEmpty() {
		return name
	}
	return name + of.String()
}

// portOfSidecar finds the port in the pod template.
func portOfSidecar(ctx context.Context, t *target.Target) (int, error) {
	template, err := t.Template(ctx)
	if err != nil {
		return 0, err
	}
	for _, c := range slices.Concat(template.Spec.Containers, template.Spec.InitContainers) {
		for _, p := range c.Ports {
			if c.Name == t.SidecarContainer && p.Name == sidecarPortName {
				return int(p.ContainerPort), nil
			}
		}
	}
	return sidecarPort, nil
}

package routing

import (
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"slices"
	"strconv"
	"time"

	"github.com/prometheus/common/expfmt"
	"github.com/prometheus/common/model"

	"github.com/vaultproof/vaultproof/pkg/target"
)

const (
	// sidecarPort is where the sidecar serves its status and metrics, unless the
	// pod template names another one.
	sidecarPort = 8210
	// sidecarPortName is what the template calls that port.
	sidecarPortName = "status"
	// scrapeTimeout bounds one look at the metrics of one pod.
	scrapeTimeout = 5 * time.Second
	// metricsLimit bounds what is read of one answer, in bytes.
	metricsLimit = 4 << 20
)

// countLabelErrors adds up the sidecars' counters of refused label changes.
func countLabelErrors(ctx context.Context, t *target.Target) (float64, error) {
	pods, err := t.Pods(ctx)
	if err != nil {
		return 0, err
	}
	port, err := portOfSidecar(ctx, t)
	if err != nil {
		return 0, err
	}
	sum := 0.0
	for _, p := range pods {
		n, err := scrape(ctx, t, p.Name, port)
		if err != nil {
			return 0, err
		}
		sum += n
	}
	return sum, nil
}

func portOfSidecar(ctx context.Context, t *target.Target) (int, error) {
	template, err := t.Template(ctx)
	if err != nil {
		return 0, err
	}
	for _, c := range append(template.Spec.Containers, template.Spec.InitContainers...) {
		for _, p := range c.Ports {
			if c.Name == t.SidecarContainer && p.Name == sidecarPortName {
				return int(p.ContainerPort), nil
			}
		}
	}
	return sidecarPort, nil
}

// scrape reads the counter from one sidecar, over verified TLS.
func scrape(ctx context.Context, t *target.Target, pod string, port int) (float64, error) {
	ctx, cancel := context.WithTimeout(ctx, scrapeTimeout)
	defer cancel()
	tlsConfig, err := t.TLS()
	if err != nil {
		return 0, err
	}
	transport := &http.Transport{
		TLSClientConfig: tlsConfig,
		DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
			return t.DialPod(ctx, pod, port)
		},
		DisableKeepAlives: true,
	}
	defer transport.CloseIdleConnections()
	address := "https://" + net.JoinHostPort(t.ServerName, strconv.Itoa(port)) + "/metrics"
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, address, http.NoBody)
	if err != nil {
		return 0, fmt.Errorf("asking the sidecar of pod %s for its metrics: %w", pod, err)
	}
	answer, err := (&http.Client{Transport: transport}).Do(request)
	if err != nil {
		return 0, fmt.Errorf("asking the sidecar of pod %s for its metrics: %w", pod, err)
	}
	defer answer.Body.Close()
	if answer.StatusCode != http.StatusOK {
		return 0, fmt.Errorf("the sidecar of pod %s answers /metrics on port %d with %s", pod, port, answer.Status)
	}
	n, err := total(io.LimitReader(answer.Body, metricsLimit), labelErrors)
	if err != nil {
		return 0, fmt.Errorf("the metrics of the sidecar of pod %s: %w", pod, err)
	}
	return n, nil
}

// refusals are what a label of the counter says of a change that the API server
// would not make: a conflict or an unreachable API server is something else.
var refusals = []string{"forbidden", "invalid", "403", "422"}

// total adds up the series of a counter in Prometheus' text format that count
// refusals; a series without labels counts. A counter with labels has no series
// before it counts, so that its absence is zero.
func total(metrics io.Reader, name string) (float64, error) {
	parser := expfmt.NewTextParser(model.UTF8Validation)
	families, err := parser.TextToMetricFamilies(metrics)
	if err != nil {
		return 0, fmt.Errorf("parsing: %w", err)
	}
	sum := 0.0
	for _, m := range families[name].GetMetric() {
		refusal := len(m.GetLabel()) == 0
		for _, l := range m.GetLabel() {
			refusal = refusal || slices.Contains(refusals, l.GetValue())
		}
		if refusal {
			sum += m.GetCounter().GetValue() + m.GetUntyped().GetValue()
		}
	}
	return sum, nil
}

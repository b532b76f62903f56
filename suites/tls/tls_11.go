package tls

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"math"
	"net/http"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/onsi/ginkgo/v2"
	"github.com/prometheus/common/model"

	"github.com/vaultproof/vaultproof/pkg/alert"
	"github.com/vaultproof/vaultproof/pkg/conformance"
	"github.com/vaultproof/vaultproof/pkg/target"
)

const (
	// warning is how long before a certificate expires somebody must be told: a week in
	// which to find out why it was not renewed.
	warning = 168 * time.Hour
	// statusPort is where the sidecar shows its metrics.
	statusPort = 8210
	// clockSlack is how far a metric may be from the certificate: a scrape, and a clock.
	clockSlack = 5 * time.Minute
)

var tls11 = conformance.Check{
	ID: "TLS-11", Area: area, Level: conformance.Should, Manner: conformance.Reads,
	Assertion: "somebody is told at least 168 h before a certificate expires",
	Source:    "vault-operator, TLSExpiryThreshold",
	Observe: "notAfter of every pod's certificate beside the metric that the alert rule looks at, and the rule in Prometheus' own engine over made-up series: " +
		"it fires a week before the end, and not a year before",
}

var _ = conformance.It(tls11, conformance.Conformance, func(ctx ginkgo.SpecContext, r *conformance.Case) error {
	if r.Target.Plaintext {
		return r.Skip("Vault speaks plain HTTP, so there is no certificate that could expire")
	}
	pods, err := r.Target.Pods(ctx)
	if err != nil {
		return r.CannotTell(err)
	}
	leaves := map[string]*x509.Certificate{}
	least := time.Duration(math.MaxInt64)
	for _, pod := range pods {
		leaf, err := leafOf(ctx, toPod(r.Target, pod.Name, target.VaultPort), r.Target.ServerName)
		if err != nil {
			return r.CannotTell(fmt.Errorf("TLS with pod %s: %w", pod.Name, err))
		}
		if err := renewed(pod.Name, leaf, time.Now()); err != nil {
			return err
		}
		leaves[pod.Name] = leaf
		least = min(least, time.Until(leaf.NotAfter))
	}
	if len(leaves) == 0 {
		return errors.New("there is no Vault pod")
	}
	r.Measure("shortest_hours", math.Round(least.Hours()))
	if r.Target.SidecarContainer == "" {
		return r.Skip("the pods have no sidecar whose metrics the alert rules of this project look at, and no other rules are known")
	}
	rules, err := alert.Stock()
	if err != nil {
		return r.CannotTell(err)
	}
	rule, err := warns(ctx, rules)
	if err != nil {
		return err
	}
	for name, leaf := range leaves {
		metrics, err := sidecarMetrics(ctx, r.Target, name)
		if err != nil {
			return r.CannotTell(err)
		}
		if err := measures(name, rule.Metrics, metrics, leaf, time.Now()); err != nil {
			return err
		}
	}
	return nil
})

// renewed judges a certificate: less than a week is left only of one that lives shortly.
func renewed(pod string, leaf *x509.Certificate, now time.Time) error {
	due := min(warning, leaf.NotAfter.Sub(leaf.NotBefore)/3)
	if left := leaf.NotAfter.Sub(now); left < due {
		return fmt.Errorf("the certificate %s of pod %s expires at %s, in %s: its renewal is overdue", fingerprint(leaf), pod, leaf.NotAfter.UTC().Format(time.RFC3339), left.Round(time.Minute))
	}
	return nil
}

// ofCertificates matches metrics of how long certificates last.
var ofCertificates = regexp.MustCompile(`(?i)cert.*(ttl|expir|not_?after)`)

// warns finds a rule that fires a week before a certificate expires, and not when there is
// a year left.
func warns(ctx context.Context, rules alert.Rules) (alert.Rule, error) {
	var problems []error
	for _, rule := range rules {
		if !slices.ContainsFunc(rule.Metrics, ofCertificates.MatchString) {
			continue
		}
		err := alert.Prove(ctx, alert.Rules{rule}, lifetimes(rule))
		if err == nil {
			return rule, nil
		}
		problems = append(problems, fmt.Errorf("alert %s (%s) does not warn a week ahead: %w", rule.Alert, rule.Expr, err))
	}
	if len(problems) == 0 {
		return alert.Rule{}, errors.New("no alert rule looks at how long a certificate lasts, want one that fires 168 h before it expires")
	}
	return alert.Rule{}, errors.Join(problems...)
}

// lifetimes are the two cases that a rule is tried with.
func lifetimes(rule alert.Rule) alert.Cases {
	constant := func(left time.Duration) map[string]string {
		series := map[string]string{}
		for _, name := range rule.Metrics {
			if ofCertificates.MatchString(name) {
				series[name+`{namespace="vault",pod="vault-0"}`] = fmt.Sprintf("%dx%d", int64(left.Seconds()), samples(rule))
			}
		}
		return series
	}
	return alert.Cases{Interval: "1m", Cases: []alert.Case{
		{Name: "less than a week", Alert: rule.Alert, Series: constant(warning - time.Second), Fires: model.Duration(rule.For.Truncate(time.Minute)).String()},
		{Name: "a year", Alert: rule.Alert, Series: constant(365 * 24 * time.Hour)},
	}}
}

// samples is how many minutes it takes to see whether a rule fires.
func samples(rule alert.Rule) int { return int(rule.For/time.Minute) + 5 }

// sidecarMetrics are those that a pod's sidecar shows.
func sidecarMetrics(ctx context.Context, t *target.Target, pod string) (string, error) {
	config, err := t.TLS()
	if err != nil {
		return "", err
	}
	var got answer
	_, err = greet(ctx, toPod(t, pod, statusPort), config, func(conn *tls.Conn) error {
		var err error
		got, err = ask(conn, "GET /metrics HTTP/1.0\r\nHost: vault\r\n\r\n")
		return err
	})
	if err == nil && got.status != http.StatusOK {
		err = fmt.Errorf("status %d", got.status)
	}
	if err != nil {
		return "", fmt.Errorf("reading the metrics of the sidecar in pod %s: %w", pod, err)
	}
	return got.body, nil
}

// measures judges whether a metric that the rule looks at tells of this very certificate.
func measures(pod string, names []string, metrics string, leaf *x509.Certificate, now time.Time) error {
	var seen []string
	for _, name := range names {
		value, ok := sample(metrics, name)
		if !ok {
			continue
		}
		left := time.Duration(value * float64(time.Second))
		if diff := left - leaf.NotAfter.Sub(now); diff.Abs() <= clockSlack {
			return nil
		}
		seen = append(seen, fmt.Sprintf("%s says %s", name, left.Round(time.Second)))
	}
	if len(seen) == 0 {
		return fmt.Errorf("the sidecar of pod %s does not export %s, which the alert on expiring certificates looks at: the alert can never fire", pod, strings.Join(names, ", "))
	}
	return fmt.Errorf("the certificate that pod %s serves has %s left, but %s: the alert looks at something else", pod, leaf.NotAfter.Sub(now).Round(time.Second), strings.Join(seen, ", "))
}

// sample reads a metric in Prometheus' text form.
func sample(metrics, name string) (float64, bool) {
	for line := range strings.Lines(metrics) {
		fields := strings.Fields(line)
		if len(fields) < 2 || fields[0] != name && !strings.HasPrefix(fields[0], name+"{") {
			continue
		}
		if value, err := strconv.ParseFloat(fields[len(fields)-1], 64); err == nil {
			return value, true
		}
	}
	return 0, false
}

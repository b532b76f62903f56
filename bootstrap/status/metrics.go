package status

import (
	"net/http"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promhttp"
)

// metrics are what Prometheus scrapes. Gauges are read off the board at the
// moment of the scrape, all from one status.
type metrics struct {
	board    *Board
	registry *prometheus.Registry

	custodyErrors, labelRepairs, labelErrors *prometheus.CounterVec
	snapshotFailures                         prometheus.Counter
}

func describe(name, help string, labels ...string) *prometheus.Desc {
	return prometheus.NewDesc("vaultproof_"+name, help, labels, nil)
}

var (
	sealedDesc   = describe("sealed", "1 while Vault answers and is sealed or not initialised.")
	upDesc       = describe("vault_up", "1 while Vault answers the sidecar.")
	activeDesc   = describe("active", "1 while Vault says that it is the active one.")
	readyDesc    = describe("ready", "1 while Vault is unsealed and is not known to lack its provisioning.")
	heldDesc     = describe("held", "1 while an admin's hold keeps a sealed Vault from being unsealed.")
	unsealDesc   = describe("last_unseal_seconds", "Seconds that the last unseal took, from Vault's first sealed answer on.")
	stateDesc    = describe("state", "1 for the state that the sidecar is in.", "state")
	stateAtDesc  = describe("state_since_seconds", "Unix time at which that state began.")
	pendingDesc  = describe("labels_pending", "Labels of this pod that the API server does not have yet.")
	pendingAge   = describe("labels_pending_seconds", "Seconds that the oldest of them has been pending; 0 if there is none.")
	tokenTTLDesc = describe("token_ttl_seconds", "Seconds until a token in custody lapses, negative afterwards.", "token")
	snapAtDesc   = describe("snapshot_last_success_timestamp_seconds", "Unix time of the last snapshot that this sidecar stored and read back.")
	snapSizeDesc = describe("snapshot_size_bytes", "Size of that snapshot.")
)

func newMetrics(b *Board) *metrics {
	counter := func(name, help string, labels ...string) *prometheus.CounterVec {
		return prometheus.NewCounterVec(prometheus.CounterOpts{Namespace: "vaultproof", Name: name, Help: help}, labels)
	}
	m := &metrics{
		board:         b,
		registry:      prometheus.NewRegistry(),
		custodyErrors: counter("custody_errors_total", "Steps that failed for custody.", "kind"),
		labelRepairs:  counter("label_repairs_total", "Labels vault-active that this sidecar put right.", "pod"),
		labelErrors:   counter("label_errors_total", "Failed calls to the API server for labels.", "kind"),
		snapshotFailures: prometheus.NewCounter(prometheus.CounterOpts{Namespace: "vaultproof", Name: "snapshot_failures_total",
			Help: "Attempts to take a snapshot, or to delete old ones after it, that failed."}),
	}
	m.registry.MustRegister(m, m.custodyErrors, m.labelRepairs, m.labelErrors, m.snapshotFailures)
	return m
}

func (m *metrics) handler() http.Handler {
	return promhttp.HandlerFor(m.registry, promhttp.HandlerOpts{})
}

// Describe implements prometheus.Collector.
func (m *metrics) Describe(out chan<- *prometheus.Desc) {
	for _, d := range []*prometheus.Desc{sealedDesc, upDesc, activeDesc, readyDesc, heldDesc, unsealDesc, stateDesc, stateAtDesc, pendingDesc, pendingAge,
		tokenTTLDesc, snapAtDesc, snapSizeDesc} {
		out <- d
	}
}

// Collect implements prometheus.Collector.
func (m *metrics) Collect(out chan<- prometheus.Metric) {
	s := m.board.get()
	gauge := func(d *prometheus.Desc, v float64, labels ...string) {
		out <- prometheus.MustNewConstMetric(d, prometheus.GaugeValue, v, labels...)
	}
	gauge(sealedDesc, flag(s.Answers && s.Sealed))
	gauge(upDesc, flag(s.Answers))
	gauge(activeDesc, flag(s.Role == "active"))
	gauge(readyDesc, flag(s.Ready))
	gauge(heldDesc, flag(s.Hold != ""))
	if s.LastUnsealSeconds > 0 {
		gauge(unsealDesc, s.LastUnsealSeconds)
	}
	gauge(stateDesc, 1, s.State)
	gauge(stateAtDesc, float64(s.Since.UnixMilli())/1000)
	if l := s.Labels; l != nil {
		gauge(pendingDesc, float64(len(l.Pending)))
		age := 0.0
		if !l.PendingSince.IsZero() {
			age = m.board.now().Sub(l.PendingSince).Seconds()
		}
		gauge(pendingAge, age)
	}
	if sn := s.Snapshot; sn != nil && !sn.At.IsZero() {
		gauge(snapAtDesc, float64(sn.At.Unix()))
		gauge(snapSizeDesc, float64(sn.SizeBytes))
	}
	for token, ttl := range s.TokenTTLSeconds {
		gauge(tokenTTLDesc, ttl, token)
	}
}

func flag(on bool) float64 {
	if on {
		return 1
	}
	return 0
}

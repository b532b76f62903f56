package alert

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"testing"
	"time"

	"github.com/prometheus/prometheus/model/labels"
)

// scrapeEvery is, in seconds, what the waiting times of the stock rules are for.
const scrapeEvery = 15

// found is what a scrape finds of one target.
type found struct {
	// address of the target; empty if there is none.
	address string
	// samples by series; nil if it does not answer.
	samples map[string]float64
	// slow means that a scrape fails after its ten seconds, as of a node without
	// power, and not at once.
	slow bool
}

// stage is a part of a pod's life, from a second on.
type stage struct {
	from int
	found
}

// fleet is three pods over time, as Prometheus may find them.
type fleet struct {
	seconds int
	pods    map[string][]stage // of the sidecar's target
	active  []turn
}

// turn is when a pod became active; none if it is "".
type turn struct {
	from int
	pod  string
}

// pod is a target of the sidecar at a second. Whether it is active it has from the
// turns, as long as its Vault is open.
func (f fleet) pod(name string, second int) found {
	i := slices.IndexFunc(f.pods[name], func(s stage) bool { return s.from > second })
	if i < 0 {
		i = len(f.pods[name])
	}
	is := f.pods[name][i-1].found
	if is.samples != nil {
		is.samples = maps.Clone(is.samples)
		if f.leads(second).pod == name && is.samples["vaultproof_ready"] == 1 {
			is.samples["vaultproof_active"] = 1
		}
	}
	return is
}

func (f fleet) leads(second int) turn {
	var last turn
	for _, t := range f.active {
		if t.from <= second {
			last = t
		}
	}
	return last
}

// vault is the target of a pod's Vault, which is scraped while the pod is active. A
// new leader says for some seconds that it tolerates no loss.
func (f fleet) vault(name string, second int) found {
	is, leads := f.pod(name, second), f.leads(second)
	if leads.pod != name {
		return found{}
	}
	if is.samples == nil || is.samples["vaultproof_ready"] != 1 {
		return found{address: is.address, slow: is.slow}
	}
	tolerance := 1.0
	for other := range f.pods {
		if f.pod(other, second).samples["vaultproof_ready"] != 1 {
			tolerance = 0
		}
	}
	if second-leads.from < 6 {
		tolerance = 0
	}
	is.samples = map[string]float64{"vault_autopilot_failure_tolerance": tolerance, "vault_audit_sink_success": 9,
		"vault_audit_log_request_failure": 0, "vault_audit_log_response_failure": 0}
	return is
}

// scraped is what a Prometheus has of the fleet. Phase shifts its scrapes. It does as
// the real one does where a target ends: its last values stay for two intervals and a
// tenth (scrape.go, endOfRunStaleness).
func (f fleet) scraped(phase int) *Series {
	series := NewSeries()
	for i, pod := range slices.Sorted(maps.Keys(f.pods)) {
		sidecar := &scrapes{series: series, job: SidecarJob, pod: pod}
		vault := &scrapes{series: series, job: VaultJob, pod: pod}
		for second := (phase + 5*i) % scrapeEvery; second < f.seconds; second += scrapeEvery {
			sidecar.take(second, f.pod(pod, second))
			vault.take(second, f.vault(pod, second))
		}
	}
	return series
}

// scrapes are those of one target.
type scrapes struct {
	series   *Series
	job, pod string

	address string
	at      time.Time       // of the last one
	present []labels.Labels // in it
}

func (s *scrapes) take(second int, f found) {
	if f.address != s.address {
		s.end(s.at.Add(scrapeEvery*2*time.Second+scrapeEvery*time.Second/10), nil)
	}
	if s.address = f.address; f.address == "" {
		return
	}
	s.at = beginning.Add(time.Duration(second) * time.Second)
	done, up := s.at, 0.0
	if f.slow {
		done = done.Add(10 * time.Second)
	}
	if f.samples != nil {
		up = 1
	}
	now := []labels.Labels{s.metric("up")}
	s.series.add(now[0], done, up)
	for _, name := range slices.Sorted(maps.Keys(f.samples)) {
		metric := s.metric(name)
		s.series.add(metric, done, f.samples[name])
		now = append(now, metric)
	}
	s.end(done, now)
	s.present = now
}

// end marks what is no longer there.
func (s *scrapes) end(at time.Time, now []labels.Labels) {
	for _, metric := range s.present {
		if !containsMetric(now, metric) {
			s.series.add(metric, at, stale)
		}
	}
	s.present = nil
}

func (s *scrapes) metric(name string) labels.Labels {
	metric, err := language.ParseMetric(name)
	if err != nil {
		panic(err) // of this file
	}
	return labels.NewBuilder(metric).Set("job", s.job).Set("namespace", "vault").Set("pod", s.pod).Set("instance", s.address).Labels()
}

// alerts names those that fire at whatever instants Prometheus scrapes and
// evaluates: waiting times must do for all of them.
func (f fleet) alerts(t *testing.T, rules Rules) []string {
	t.Helper()
	names := map[string]bool{}
	for phase := 0; phase < scrapeEvery; phase += 3 {
		series := f.scraped(phase)
		for offset := 0; offset < scrapeEvery; offset += 8 {
			from := beginning.Add(time.Duration(offset) * time.Second)
			fired, err := Replay(t.Context(), rules, series, Span{From: from, To: from.Add(time.Duration(f.seconds) * time.Second), Every: scrapeEvery * time.Second})
			if err != nil {
				t.Fatal(err)
			}
			for _, alert := range fired {
				names[alert.Alert] = true
			}
		}
	}
	return slices.Sorted(maps.Keys(names))
}

// well is a pod that serves, with changes to what its sidecar says.
func well(address string, changes map[string]float64) found {
	samples := map[string]float64{
		"vaultproof_vault_up": 1, "vaultproof_sealed": 0, "vaultproof_active": 0, "vaultproof_held": 0, "vaultproof_ready": 1,
		"vaultproof_labels_pending_seconds": 0, "vaultproof_last_unseal_seconds": 0.4, `vaultproof_token_ttl_seconds{token="provisioner"}`: 80000,
		"vaultproof_certificate_ttl_seconds": 2e6, "vaultproof_storage_free_bytes": 9e9, "vaultproof_storage_size_bytes": 1e10,
	}
	maps.Copy(samples, changes)
	return found{address: address, samples: samples}
}

var (
	silentVault = map[string]float64{"vaultproof_vault_up": 0, "vaultproof_ready": 0}
	sealedVault = map[string]float64{"vaultproof_sealed": 1, "vaultproof_ready": 0}
)

// calm is a fleet in which nothing happens.
func calm(seconds int) fleet {
	f := fleet{seconds: seconds, pods: map[string][]stage{}, active: []turn{{0, "vault-2"}}}
	for n := range 3 {
		f.pods[fmt.Sprintf("vault-%d", n)] = []stage{{0, well(address(n, 0), nil)}}
	}
	return f
}

// address of a pod's n-th life.
func address(pod, life int) string { return fmt.Sprintf("10.0.%d.%d:8210", life, pod) }

// rollout replaces the pods, one as soon as the one before is ready, the highest
// first. The active pod hands over each time to one that comes next.
func rollout(pull int) fleet {
	f := calm(600)
	at := 60
	for n := 2; n >= 0; n-- {
		pod, old, renewed := fmt.Sprintf("vault-%d", n), address(n, 0), address(n, 1)
		f.active = append(f.active, turn{at + 1, cmp.Or(map[int]string{2: "vault-1", 1: "vault-0"}[n], "vault-2")})
		gone := at + 12
		there := gone + 3 + pull
		f.pods[pod] = append(f.pods[pod],
			stage{at + 4, well(old, silentVault)}, stage{gone - 2, found{address: old}}, stage{gone, found{}},
			stage{gone + 3, found{address: renewed}}, stage{there, well(renewed, silentVault)},
			stage{there + 5, well(renewed, sealedVault)}, stage{there + 7, well(renewed, nil)})
		at = there + 10
	}
	return f
}

// restarts has every Vault killed in its place, one after the other.
func restarts() fleet {
	f := calm(400)
	for n := 2; n >= 0; n-- {
		pod, at, is := fmt.Sprintf("vault-%d", n), 120+60*(2-n), address(n, 0)
		f.active = append(f.active, turn{at, ""}, turn{at + 3, fmt.Sprintf("vault-%d", (n+2)%3)})
		f.pods[pod] = append(f.pods[pod], stage{at, well(is, silentVault)}, stage{at + 5, well(is, sealedVault)}, stage{at + 7, well(is, nil)})
	}
	return f
}

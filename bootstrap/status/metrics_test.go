package status

import (
	"encoding/json"
	"maps"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/common/expfmt"
	"github.com/prometheus/common/model"
)

// scrape reads /metrics as Prometheus does: by name, then by the value of the
// one label, which is empty if there is none.
func scrape(t *testing.T, b *Board) map[string]map[string]float64 {
	t.Helper()
	code, body := get(t, b, "/metrics")
	p := expfmt.NewTextParser(model.UTF8Validation)
	families, err := p.TextToMetricFamilies(strings.NewReader(body))
	if err != nil || code != 200 {
		t.Fatalf("/metrics: %d, %v\n%s", code, err, body)
	}
	out := map[string]map[string]float64{}
	for name, f := range families {
		if f.GetHelp() == "" {
			t.Errorf("%s has no help", name)
		}
		out[name] = map[string]float64{}
		for _, m := range f.Metric {
			label := ""
			if len(m.Label) > 0 {
				label = m.Label[0].GetValue()
			}
			out[name][label] = m.GetGauge().GetValue() + m.GetCounter().GetValue()
		}
	}
	return out
}

func TestMetrics(t *testing.T) {
	b := NewBoard("vault-0")
	now := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	b.now = func() time.Time { return now }
	b.Set(Status{State: "keys-stored", Answers: true, Sealed: true, Hold: "audit"}, false)
	m := scrape(t, b)
	for name, want := range map[string]float64{"vaultproof_sealed": 1, "vaultproof_vault_up": 1, "vaultproof_active": 0, "vaultproof_ready": 0, "vaultproof_held": 1} {
		if got, ok := m[name][""]; !ok || got != want {
			t.Errorf("%s is %v while sealed; want %v", name, got, want)
		}
	}
	if _, ok := m["vaultproof_last_unseal_seconds"]; ok {
		t.Error("the last unseal has a time, and there was none")
	}

	b.Set(Status{State: "serving", Answers: true, Role: "active", Ready: true, LastUnsealSeconds: 0.2}, false)
	b.CustodyFailed("denied")
	b.LabelFailed("forbidden")
	b.LabelFailed("forbidden")
	b.LabelRepaired("vault-1")
	b.TokensLast(map[string]time.Time{"provisioner": now.Add(time.Hour)})
	taken := now
	b.SetSnapshot(Snapshot{Name: "vault-1.snap", At: taken, SizeBytes: 4096})
	b.SetSnapshot(Snapshot{LastError: "the bucket is away"})
	now = now.Add(time.Minute)
	m = scrape(t, b)
	for _, want := range []struct {
		name, label string
		value       float64
	}{
		{"vaultproof_sealed", "", 0}, {"vaultproof_active", "", 1}, {"vaultproof_ready", "", 1}, {"vaultproof_held", "", 0},
		{"vaultproof_last_unseal_seconds", "", 0.2},
		{"vaultproof_state", "serving", 1},
		{"vaultproof_state_since_seconds", "", float64(now.Add(-time.Minute).Unix())},
		{"vaultproof_custody_errors_total", "denied", 1},
		{"vaultproof_label_errors_total", "forbidden", 2},
		{"vaultproof_label_repairs_total", "vault-1", 1},
		{"vaultproof_token_ttl_seconds", "provisioner", 3540},
		{"vaultproof_snapshot_last_success_timestamp_seconds", "", float64(taken.Unix())},
		{"vaultproof_snapshot_size_bytes", "", 4096},
		{"vaultproof_snapshot_failures_total", "", 1},
	} {
		if got, ok := m[want.name][want.label]; !ok || got != want.value {
			t.Errorf("%s{%s} is %v; want %v", want.name, want.label, got, want.value)
		}
	}
	if got := m["vaultproof_state"]; len(got) != 1 {
		t.Errorf("states %v; want the current one only", slices.Collect(maps.Keys(got)))
	}
	b.Set(Status{State: "connecting"}, false)
	b.TokensLast(nil)
	m = scrape(t, b)
	if m["vaultproof_vault_up"][""] != 0 || m["vaultproof_sealed"][""] != 0 || len(m["vaultproof_token_ttl_seconds"]) != 0 {
		t.Errorf("metrics of a silent Vault: %v", m)
	}
}

// What Set does not know outlives it.
func TestStatusKeepsLabelsAndTokens(t *testing.T) {
	b := NewBoard("vault-0")
	now := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	b.now = func() time.Time { return now }
	read := func() (s Status) {
		t.Helper()
		_, body := get(t, b, "/status")
		if err := json.Unmarshal([]byte(body), &s); err != nil {
			t.Fatal(err)
		}
		return s
	}
	if s := read(); s.Labels != nil || s.TokenTTLSeconds != nil || s.Snapshot != nil {
		t.Errorf("status without a fence: %+v", s)
	}
	b.SetLabels(map[string]string{"vault-0": "true", "vault-1": "false"}, "no answer")
	b.LabelRepaired("vault-1")
	b.TokensLast(map[string]time.Time{"handover": now.Add(-time.Second)})
	b.SetSnapshot(Snapshot{Name: "vault-1.snap", At: now, SizeBytes: 9, LastError: "some were not deleted", Next: now.Add(time.Hour)})
	b.Set(Status{State: "serving", Role: "active", Hold: "audit of the day"}, false)
	s := read()
	if s.Labels == nil || s.Labels.Desired["vault-1"] != "false" || s.Labels.Repaired["vault-1"] != 1 || s.Labels.LastError != "no answer" {
		t.Errorf("labels %+v", s.Labels)
	}
	if s.TokenTTLSeconds["handover"] != -1 || s.Hold != "audit of the day" {
		t.Errorf("token TTLs %v, hold %q", s.TokenTTLSeconds, s.Hold)
	}
	if sn := s.Snapshot; sn == nil || sn.Name != "vault-1.snap" || sn.SizeBytes != 9 || sn.LastError == "" || !sn.Next.Equal(now.Add(time.Hour)) {
		t.Errorf("snapshot %+v", sn)
	}
	b.Set(Status{State: "serving", Role: "standby"}, false)
	if sn := read().Snapshot; sn == nil || sn.Name != "vault-1.snap" || sn.LastError != "" || !sn.Next.IsZero() {
		t.Errorf("beside a standby: snapshot %+v; want what was taken, and no attempt", sn)
	}
}

package alert

import (
	"bytes"
	"math"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

func recorded(t *testing.T, scrapes ...Scrape) *Recording {
	t.Helper()
	var file bytes.Buffer
	for _, s := range scrapes {
		if err := (writer{&file}).write(s); err != nil {
			t.Fatal(err)
		}
	}
	r, err := read(&file, "vault")
	if err != nil {
		t.Fatal(err)
	}
	return r
}

// sidecar is a scrape of the sidecar of vault-0 so many seconds from the beginning.
func sidecar(at int, samples map[string]float64) Scrape {
	return Scrape{At: beginning.Add(time.Duration(at) * time.Second), Job: SidecarJob, Pod: "vault-0", Up: samples != nil, Samples: samples}
}

func firedOn(t *testing.T, r *Recording, rule string) []Firing {
	t.Helper()
	rules, err := Parse([]byte(`groups: [{name: g, rules: [` + rule + `]}]`))
	if err != nil {
		t.Fatal(err)
	}
	fired, err := Replay(t.Context(), rules, r.Series, Span{From: r.From, To: r.To, Every: Every})
	if err != nil {
		t.Fatal(err)
	}
	return fired
}

func TestARecordingIsReplayed(t *testing.T) {
	sealed, open := map[string]float64{"vaultproof_sealed": 1, `vaultproof_state{state="blocked"}`: 1}, map[string]float64{"vaultproof_sealed": 0, `vaultproof_state{state="serving"}`: 1}
	r := recorded(t, sidecar(0, open), sidecar(5, sealed), sidecar(10, sealed), sidecar(15, open), sidecar(20, open))
	fired := firedOn(t, r, `{alert: S, expr: vaultproof_sealed == 1, for: 5s}`)
	if len(fired) != 1 || fired[0].At != beginning.Add(10*time.Second) || fired[0].Until != beginning.Add(15*time.Second) ||
		fired[0].Labels["pod"] != "vault-0" || fired[0].Labels["namespace"] != "vault" || fired[0].Labels["job"] != SidecarJob {
		t.Errorf("fired %+v", fired)
	}
	// A state that was left is over at once, not after Prometheus' five minutes.
	fired = firedOn(t, r, `{alert: B, expr: 'vaultproof_state{state="blocked"} == 1'}`)
	if len(fired) != 1 || fired[0].Until != beginning.Add(15*time.Second) {
		t.Errorf("a state that was left: %+v", fired)
	}
}

func TestATargetThatFails(t *testing.T) {
	r := recorded(t, sidecar(0, map[string]float64{"vaultproof_active": 1}), sidecar(5, nil), sidecar(10, nil))
	if fired := firedOn(t, r, `{alert: D, expr: up == 0}`); len(fired) != 1 || fired[0].At != beginning.Add(5*time.Second) {
		t.Errorf("up: %+v", fired)
	}
	if fired := firedOn(t, r, `{alert: A, expr: vaultproof_active == 1}`); len(fired) != 1 || fired[0].Until != beginning.Add(5*time.Second) {
		t.Errorf("the samples of a target that does not answer: %+v", fired)
	}
}

func TestATargetThatIsGone(t *testing.T) {
	vault := Scrape{At: beginning, Job: VaultJob, Pod: "vault-0", Error: "scraping: the answer is 500"}
	gone := Scrape{At: beginning.Add(10 * time.Second), Job: VaultJob, Pod: "vault-0", Gone: true}
	later := Scrape{At: beginning.Add(20 * time.Second), Job: VaultJob, Pod: "vault-1", Up: true}
	r := recorded(t, vault, gone, later)
	fired := firedOn(t, r, `{alert: D, expr: up == 0}`)
	if len(fired) != 1 || fired[0].Until != beginning.Add(10*time.Second) {
		t.Errorf("a pod that is not active any more: %+v", fired)
	}
	if r.Refused["vault-0"] != "scraping: the answer is 500" {
		t.Errorf("refused %v", r.Refused)
	}
}

func TestBlind(t *testing.T) {
	rules, err := Parse([]byte(`groups: [{name: g, rules: [{alert: A, expr: a == 1}, {alert: B, expr: 'b / a'}, {alert: C, expr: 'increase(vault_audit_sink_failure[5m]) > 0'}]}]`))
	if err != nil {
		t.Fatal(err)
	}
	blind := recorded(t, sidecar(0, map[string]float64{"a": 1})).Blind(rules)
	if len(blind) != 1 || blind["B"] != "b" {
		t.Errorf("blind %v, want B alone: a counter of errors may be absent", blind)
	}
}

func TestReadingARecording(t *testing.T) {
	const line = `{"at":"2026-01-01T00:00:00Z","job":"vault-sidecar","pod":"vault-0","up":true,"samples":{"a":1}}` + "\n"
	for name, c := range map[string]struct{ text, want string }{
		"whole":                 {line + line, ""},
		"cut short at its end":  {line + line[:30], ""},
		"broken in the middle":  {line[:30] + "\n" + line, "line 1 is no scrape"},
		"no series of ours":     {strings.Replace(line, `"a"`, `"a{"`, 1), "line 1: series a{"},
		"empty":                 {"", ""},
		"with an empty line":    {line + "\n" + line, ""},
		"a line that is not it": {"[]\n" + line, "line 1 is no scrape"},
	} {
		_, err := read(strings.NewReader(c.text), "vault")
		if (c.want == "") != (err == nil) || err != nil && !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: error %v, want %q", name, err, c.want)
		}
	}
	if _, err := Load(filepath.Join(t.TempDir(), File), "vault"); err == nil {
		t.Error("a recording that is not there went unnoticed")
	}
}

func TestNumbersThatJSONHasNot(t *testing.T) {
	r := recorded(t, sidecar(0, map[string]float64{"a": math.NaN(), "b": math.Inf(1), "c": 1}))
	if r.Series.Has("a") || r.Series.Has("b") || !r.Series.Has("c") {
		t.Error("only what is a number can be recorded")
	}
}

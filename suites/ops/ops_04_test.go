package ops

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/vaultproof/vaultproof/pkg/alert"
	"github.com/vaultproof/vaultproof/pkg/timeline"
)

func stockRules(t *testing.T) alert.Rules {
	t.Helper()
	rules, err := alert.Stock()
	if err != nil {
		t.Fatal(err)
	}
	return rules
}

// second is an instant so many seconds past noon.
func second(s int) time.Time { return noon.Add(time.Duration(s) * time.Second) }

func state(at int, kind timeline.Kind, pod, value string) timeline.Event {
	return timeline.Event{At: second(at), Kind: kind, Subject: pod, Value: value}
}

// night is a run in which vault-1 was sealed for two minutes, nobody was active
// for five seconds, and a pod was out of reach for a minute. The probe ended with
// the load at 500 s.
func night() []timeline.Event {
	return []timeline.Event{
		state(0, timeline.Seal, "vault-0", "unsealed"), state(0, timeline.Leader, "vault-0", "active"),
		state(1, timeline.Seal, "vault-1", "unsealed"), state(1, timeline.Leader, "vault-1", "standby"),
		state(100, timeline.Seal, "vault-1", "sealed"), state(220, timeline.Seal, "vault-1", "unsealed"),
		state(300, timeline.Leader, "vault-0", "standby"), state(305, timeline.Leader, "vault-1", "active"),
		state(400, timeline.Leader, "vault-0", "unreachable"), state(460, timeline.Leader, "vault-0", "standby"),
		state(500, timeline.Operation, "read", "vault-1"),
		state(900, timeline.Note, "RES-10", "begins"),
	}
}

func TestObservedConditions(t *testing.T) {
	var certain, doubtful []string
	for _, c := range observed(night()) {
		word := c.what + " " + c.from.Sub(noon).String() + "-" + c.to.Sub(noon).String()
		if c.doubt {
			doubtful = append(doubtful, word)
		} else {
			certain = append(certain, word)
		}
	}
	if got, want := strings.Join(certain, "; "), "no pod was active 5m0s-5m5s; pod vault-1 was sealed 1m40s-3m40s"; got != want {
		t.Errorf("certain: %s, want %s", got, want)
	}
	if got := strings.Join(doubtful, "; "); !strings.Contains(got, "two pods were active 6m40s-7m40s") {
		t.Errorf("doubtful: %s", got)
	}
	if w := watched(night()); w.from != second(1) || w.to != second(500) {
		t.Errorf("watched %v", w)
	}
	if got := observed(nil); len(got) != 0 {
		t.Errorf("out of nothing: %v", got)
	}
}

func firing(name, pod string, since, at, until int) alert.Firing {
	f := alert.Firing{Alert: name, Labels: map[string]string{"namespace": "vault"}, Since: second(since), At: second(at)}
	if pod != "" {
		f.Labels["pod"] = pod
	}
	if until > 0 {
		f.Until = second(until)
	}
	return f
}

func TestRang(t *testing.T) {
	rules := stockRules(t)
	for name, c := range map[string]struct {
		events []timeline.Event
		fired  []alert.Firing
		want   string
	}{
		"in time":              {night(), []alert.Firing{firing("VaultSealed", "vault-1", 105, 135, 225)}, ""},
		"a hold tells as well": {night(), []alert.Firing{firing("VaultHeld", "vault-1", 105, 135, 0)}, ""},
		"silent":               {night(), nil, "pod vault-1 was sealed from 12:01:40.000 to 12:03:40.000, and by 12:03:00.000 no alert of VaultSealed, VaultHeld had fired"},
		"of another pod":       {night(), []alert.Firing{firing("VaultSealed", "vault-0", 105, 135, 225)}, "pod vault-1 was sealed"},
		"too late":             {night(), []alert.Firing{firing("VaultSealed", "vault-1", 170, 200, 225)}, "want one within 1m20s"},
		"long before":          {night(), []alert.Firing{firing("VaultSealed", "vault-1", 20, 50, 60)}, "pod vault-1 was sealed"},
		"nothing happened":     {night()[:4], nil, "nothing lasted long enough"},
		"for a moment only": {[]timeline.Event{state(0, timeline.Seal, "vault-0", "sealed"), state(20, timeline.Seal, "vault-0", "unsealed"), state(30, timeline.Operation, "read", "")},
			nil, "nothing lasted long enough"},
		"no leader": {[]timeline.Event{state(0, timeline.Leader, "vault-0", "standby"), state(99, timeline.Operation, "read", "")}, nil, "no pod was active from 12:00:00.000"},
		"two leaders": {[]timeline.Event{state(0, timeline.Leader, "vault-0", "active"), state(0, timeline.Leader, "vault-1", "active"), state(99, timeline.Operation, "read", "")},
			nil, "two pods were active from 12:00:00.000"},
	} {
		err := rang(observed(c.events), rules, c.fired)
		if (c.want == "") != (err == nil) || err != nil && !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: error %v, want %q", name, err, c.want)
		}
	}
}

func TestFalseAlarms(t *testing.T) {
	for name, c := range map[string]struct {
		fired alert.Firing
		want  string
	}{
		"it was sealed":                 {firing("VaultSealed", "vault-1", 105, 135, 225), ""},
		"it was not":                    {firing("VaultSealed", "vault-0", 105, 135, 225), "alert VaultSealed fired at 12:02:15.000 for pod vault-0, and the probe saw nothing"},
		"nobody was active for seconds": {firing("VaultNoActive", "", 302, 332, 340), ""},
		"somebody was":                  {firing("VaultNoActive", "", 30, 60, 90), "VaultNoActive fired at 12:01:00.000 for vault"},
		"perhaps two":                   {firing("VaultTwoActive", "", 420, 450, 455), ""},
		"never two":                     {firing("VaultTwoActive", "", 30, 60, 90), "VaultTwoActive"},
		"before the probe":              {firing("VaultNoActive", "", -60, -30, -10), ""},
		"after the probe":               {firing("VaultSealed", "vault-0", 600, 630, 0), ""},
		"what the probe cannot see":     {firing("VaultSlowUnseal", "vault-0", 30, 60, 90), ""},
	} {
		err := noFalseAlarm(observed(night()), watched(night()), []alert.Firing{c.fired})
		if (c.want == "") != (err == nil) || err != nil && !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: error %v, want %q", name, err, c.want)
		}
	}
}

func TestStandingAlarms(t *testing.T) {
	token := firing("VaultTokenExpiring", "vault-0", 0, 300, 0)
	token.Labels["token"] = "provisioner"
	if err := noStandingAlarm([]alert.Firing{firing("VaultSealed", "vault-0", 0, 30, 60), token}); err == nil || !strings.Contains(err.Error(), "VaultTokenExpiring fired at 12:05:00.000 for pod vault-0, token provisioner") {
		t.Errorf("a token that runs out: %v", err)
	}
	if err := noStandingAlarm([]alert.Firing{firing("VaultSealed", "vault-0", 0, 30, 60)}); err != nil {
		t.Error(err)
	}
}

func TestEveryRuleMustSeeItsMetrics(t *testing.T) {
	path := filepath.Join(t.TempDir(), alert.File)
	lines := `{"at":"2026-01-02T12:00:00Z","job":"vault-sidecar","pod":"vault-0","up":true,"samples":{"vaultproof_sealed":0,"vaultproof_held":0}}
{"at":"2026-01-02T12:00:05Z","job":"vault","pod":"vault-0","up":false,"error":"scraping: the answer is 403 Forbidden"}
`
	if err := os.WriteFile(path, []byte(lines), 0o600); err != nil {
		t.Fatal(err)
	}
	recording, err := alert.Load(path, "vault")
	if err != nil {
		t.Fatal(err)
	}
	err = sighted(recording, stockRules(t))
	for _, want := range []string{"VaultSilent (vaultproof_vault_up)", "VaultAuditBlocked (vault_audit_log_re", "pod vault-0 could not be read: scraping: the answer is 403 Forbidden"} {
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("error %v, want %q in it", err, want)
		}
	}
	if err != nil && strings.Contains(err.Error(), "VaultSealed (") {
		t.Errorf("its metrics are there: %v", err)
	}
	seeing, err := alert.Parse([]byte(`groups: [{name: g, rules: [{alert: A, expr: vaultproof_sealed == 1}]}]`))
	if err != nil {
		t.Fatal(err)
	}
	if err := sighted(recording, seeing); err != nil {
		t.Error(err)
	}
}

func TestAlertNamesAreThoseOfRules(t *testing.T) {
	rules := stockRules(t)
	for _, names := range [][]string{sealAlerts, noActiveAlerts, twoActive, standing} {
		for _, name := range names {
			if _, ok := rules.Named(name); !ok {
				t.Errorf("there is no rule %s", name)
			}
		}
	}
	if err := proveRules(t.Context(), rules); err != nil {
		t.Error(err)
	}
	if err := proveRules(t.Context(), rules[:3]); err == nil {
		t.Error("cases of rules that are gone went unnoticed")
	}
}

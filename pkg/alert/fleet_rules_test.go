package alert

import (
	"slices"
	"strings"
	"testing"
	"time"
)

func stock(t *testing.T) Rules {
	t.Helper()
	rules, err := Stock()
	if err != nil {
		t.Fatal(err)
	}
	return rules
}

// TestWhatIsMeantPagesNobody: an update of all pods, a handover and restarts one by
// one are no alert, and neither is a fleet in which nothing happens.
func TestWhatIsMeantPagesNobody(t *testing.T) {
	handover := calm(300)
	handover.active = append(handover.active, turn{120, "vault-0"}, turn{180, "vault-1"})
	reelected := calm(300)
	reelected.active = append(reelected.active, turn{120, ""}, turn{123, "vault-1"})
	for name, f := range map[string]fleet{
		"nothing":               calm(300),
		"two handovers":         handover,
		"an election":           reelected,
		"restarts one by one":   restarts(),
		"an update":             rollout(5),
		"an update that pulls":  rollout(30),
		"an update at its slow": rollout(50),
	} {
		if alerts := f.alerts(t, stock(t)); len(alerts) > 0 {
			t.Errorf("%s: %v fired, want none", name, alerts)
		}
	}
}

// TestWhatIsBrokenPages: and nothing else does.
func TestWhatIsBrokenPages(t *testing.T) {
	lost := calm(600)
	lost.active = append(lost.active, turn{123, "vault-0"})
	lost.pods["vault-2"] = append(lost.pods["vault-2"], stage{120, found{address: address(2, 0), slow: true}})
	all := calm(400)
	all.active = append(all.active, turn{120, ""})
	for pod, stages := range all.pods {
		all.pods[pod] = append(stages, stage{120, found{address: stages[0].address, slow: true}})
	}
	shut := calm(600)
	shut.pods["vault-1"] = append(shut.pods["vault-1"], stage{120, well(address(1, 0), sealedVault)})
	hung := calm(600)
	hung.pods["vault-1"] = append(hung.pods["vault-1"], stage{120, well(address(1, 0), silentVault)})
	leaderless := calm(300)
	leaderless.active = append(leaderless.active, turn{120, ""})
	stuck := calm(600)
	stuck.pods["vault-1"] = append(stuck.pods["vault-1"], stage{120, found{}}, stage{123, found{address: address(1, 1)}})
	for name, c := range map[string]struct {
		fleet fleet
		want  string
	}{
		"the active pod's node is off": {lost, "VaultPodUnreachable VaultQuorumAtRisk"},
		"every node is off":            {all, "VaultNoActive VaultPodUnreachable"},
		"a pod stays sealed":           {shut, "VaultNotReady VaultQuorumAtRisk VaultSealed"},
		"a Vault hangs":                {hung, "VaultNotReady VaultQuorumAtRisk VaultSilent"},
		"nobody is elected":            {leaderless, "VaultNoActive"},
		"a new pod does not start":     {stuck, "VaultPodUnreachable VaultQuorumAtRisk"},
	} {
		if got := strings.Join(c.fleet.alerts(t, stock(t)), " "); got != c.want {
			t.Errorf("%s: %s fired, want %s", name, got, c.want)
		}
	}
}

// TestShortWaitsCryWolf shows that the fleet would find rules that are too quick, or
// count a pod twice that has a new address.
func TestShortWaitsCryWolf(t *testing.T) {
	rules := stock(t)
	for i := range rules {
		rules[i].For = min(rules[i].For, 30*time.Second)
	}
	alerts := rollout(30).alerts(t, rules)
	for _, want := range []string{"VaultPodUnreachable", "VaultQuorumAtRisk", "VaultSilent"} {
		if !slices.Contains(alerts, want) {
			t.Errorf("with waits of 30 s an update fires %v, want %s among them", alerts, want)
		}
	}
	byAddress, err := Parse([]byte(`groups: [{name: g, rules: [{alert: ByAddress, for: 5m, expr: '2 * (count(vaultproof_vault_up == 1) - 1) <= count(max_over_time(up{job="vault-sidecar"}[1h]))'}]}]`))
	if err != nil {
		t.Fatal(err)
	}
	if alerts := rollout(5).alerts(t, byAddress); len(alerts) == 0 {
		t.Error("pods counted by their addresses are no alert after an update: the fleet keeps its addresses")
	}
}

package report

import (
	"fmt"
	"math"
	"math/rand/v2"
	"time"

	"github.com/vaultproof/vaultproof/pkg/timeline"
)

// sampleStart is when the sample run began to send operations.
var sampleStart = time.Date(2026, 11, 23, 9, 14, 5, 0, time.UTC)

var samplePods = []string{"vault-0", "vault-1", "vault-2"}

// sampleFault is the script of one fault: when it strikes (after
// sampleStart), whom, who takes over, and the milestones in ms.
type sampleFault struct {
	fault             Fault
	after             time.Duration
	victim, successor int
	heals             time.Duration // from injected to recovered
	restarts          bool          // the victim comes back sealed
}

func sampleFaults() []sampleFault {
	script := []sampleFault{
		{fault: Fault{ID: "RES-01#1", Check: "RES-01", Kind: "pod-delete", Target: "vault-0 (active)", BudgetMS: 1500, OutageMS: 940,
			Witness: "pod vault-0 has another uid: 5f0c… before, b71e… after",
			Phases:  Phases{MS(210), MS(880), MS(1010), MS(1090), MS(1150), MS(6420)}},
			after: 95 * time.Second, victim: 0, successor: 1, heals: 7 * time.Second, restarts: true},
		{fault: Fault{ID: "RES-02#1", Check: "RES-02", Kind: "process-kill", Target: "vault-1 (active), SIGKILL", BudgetMS: 3000, OutageMS: 2310,
			Witness: "container vault of vault-1 ended with exit code 137, restart count went from 0 to 1",
			Phases:  Phases{MS(20), MS(2040), MS(2190), MS(2260), MS(2330), MS(3120)}},
			after: 240 * time.Second, victim: 1, successor: 2, heals: 4 * time.Second, restarts: true},
		{fault: Fault{ID: "RES-05#1", Check: "RES-05", Kind: "zone-partition", Target: "zone-c (vault-2, active)", BudgetMS: 8000, OutageMS: 11240,
			Witness: "12 of 12 connections from vault-2 to 8201 of vault-0 and vault-1 timed out, and 12 of 12 back",
			Phases:  Phases{MS(30), MS(4110), MS(10870), MS(11010), MS(11270), nil}},
			after: 400 * time.Second, victim: 2, successor: 0, heals: 30 * time.Second},
	}
	for i := range script {
		f := &script[i].fault
		f.InjectedAt = sampleStart.Add(script[i].after)
		f.WitnessedAt = f.InjectedAt.Add(350 * time.Millisecond)
		f.RecoveredAt = f.InjectedAt.Add(script[i].heals)
	}
	return script
}

func later(t time.Time, ms *float64) time.Time {
	return t.Add(time.Duration(*ms * float64(time.Millisecond)))
}

// sampleEvents plays the script for d, at 100 operations a second.
func sampleEvents(d time.Duration) []timeline.Event {
	var events []timeline.Event
	add := func(at time.Time, kind timeline.Kind, subject, value, detail string) {
		events = append(events, timeline.Event{At: at, Kind: kind, Subject: subject, Value: value, Detail: detail})
	}
	for i, pod := range samplePods {
		add(sampleStart, timeline.Seal, pod, "unsealed", "")
		add(sampleStart, timeline.Leader, pod, map[bool]string{true: "active", false: "standby"}[i == 0], "")
		add(sampleStart, timeline.Label, pod, fmt.Sprint(i == 0), "")
	}
	add(sampleStart, timeline.Endpoints, "vault-active", samplePods[0], "")
	for _, s := range sampleFaults() {
		f, at := s.fault, s.fault.InjectedAt
		victim, successor := samplePods[s.victim], samplePods[s.successor]
		add(at.Add(-80*time.Millisecond), timeline.Fault, f.ID, "injecting", f.Kind+" of "+f.Target)
		add(at, timeline.Fault, f.ID, "injected", f.Kind+" of "+f.Target)
		add(f.WitnessedAt, timeline.Fault, f.ID, "witnessed", f.Witness)
		add(f.RecoveredAt, timeline.Fault, f.ID, "recovered", "")
		add(later(at, f.Phases.Elected), timeline.Leader, successor, "active", "")
		add(later(at, f.Phases.Labelled), timeline.Label, successor, "true", "")
		add(later(at, f.Phases.Labelled), timeline.Label, victim, "false", "")
		add(later(at, f.Phases.Routed), timeline.Endpoints, "vault-active", successor, "")
		if !s.restarts {
			add(at.Add(2600*time.Millisecond), timeline.Leader, victim, "standby", "")
			continue
		}
		back := later(at, f.Phases.Unsealed)
		add(at.Add(150*time.Millisecond), timeline.Leader, victim, "unreachable", "")
		add(at.Add(150*time.Millisecond), timeline.Seal, victim, "unreachable", "")
		add(at.Add(200*time.Millisecond), timeline.Endpoints, "vault-active", "", "")
		add(back.Add(-700*time.Millisecond), timeline.Seal, victim, "sealed", "")
		add(back.Add(-700*time.Millisecond), timeline.Leader, victim, "sealed", "")
		add(back, timeline.Seal, victim, "unsealed", "")
		add(back.Add(100*time.Millisecond), timeline.Leader, victim, "standby", "")
	}
	events = append(events, sampleOperations(d)...)
	timeline.Sort(events)
	return events
}

func sampleOperations(d time.Duration) []timeline.Event {
	random := rand.New(rand.NewPCG(7, 11))
	script := sampleFaults()
	var events []timeline.Event
	for at := time.Duration(0); at < d; at += 10 * time.Millisecond {
		e := timeline.Event{At: sampleStart.Add(at), Kind: timeline.Operation, Subject: "read", Value: samplePods[0], OK: true}
		base := 2.4
		if (at/(10*time.Millisecond))%2 == 1 {
			e.Subject, base = "write", 6.5
		}
		e.LatencyMS = base * math.Exp(random.NormFloat64()*0.25)
		for _, s := range script {
			since := e.At.Sub(s.fault.InjectedAt).Seconds() * 1000
			if since < 0 {
				continue
			}
			e.Value = samplePods[s.successor]
			begins := *s.fault.Phases.FirstWrite - s.fault.OutageMS
			switch {
			case since < begins:
				e.Value = samplePods[s.victim]
			case since < *s.fault.Phases.FirstWrite:
				e.OK, e.Value, e.LatencyMS = false, "", 0
				e.Detail = fmt.Sprintf("dial tcp 10.96.14.%d:8200: connect: connection refused", 7)
				if s.fault.Kind == "zone-partition" {
					e.Detail = fmt.Sprintf("read tcp 10.244.4.9:%d->10.96.14.7:8200: i/o timeout", 30000+random.IntN(20000))
				}
			case since < *s.fault.Phases.FirstWrite+1500:
				e.LatencyMS *= 1 + 40*math.Exp(-(since-*s.fault.Phases.FirstWrite)/300)
			}
		}
		events = append(events, e)
	}
	return events
}

// sampleReport is a run of ten minutes that went wrong in every way a check
// can: one MUST and one SHOULD failed, one was skipped, one inconclusive.
func sampleReport() *Report {
	r := &Report{
		RunID: "20261123-091240-7f3a", Seed: 20261123, Profile: "certify",
		Started: sampleStart.Add(-85 * time.Second), Ended: sampleStart.Add(10*time.Minute + 12*time.Second),
		Target: Target{
			Cluster: "kind/vaultproof", KubernetesVersion: "v1.37.2", VaultVersion: "1.21.1", Namespace: "vault",
			Images: map[string]string{
				"hashicorp/vault:1.21.1":               "sha256:2c0f6b4bb0d0a3c9e1b5f6a48d5f7e0e1c9a7b3d6f8e2a1c4b5d6e7f8091a2b3",
				"vaultproof/bootstrap:v0.1.0":          "sha256:9a1b2c3d4e5f60718293a4b5c6d7e8f90a1b2c3d4e5f60718293a4b5c6d7e8f9",
				"ghcr.io/chaos-mesh/chaos-mesh:v2.8.0": "sha256:11aa22bb33cc44dd55ee66ff7788990011aa22bb33cc44dd55ee66ff77889900",
			},
			Nodes: []Node{
				{"vaultproof-control-plane", "control-plane", ""}, {"vaultproof-worker", "vault", "zone-a"},
				{"vaultproof-worker2", "vault", "zone-b"}, {"vaultproof-worker3", "vault", "zone-c"}, {"vaultproof-worker4", "services", ""},
			},
		},
		Checks: sampleChecks(),
	}
	for _, s := range sampleFaults() {
		r.Faults = append(r.Faults, s.fault)
	}
	return r
}

func sampleChecks() []Check {
	return []Check{
		{ID: "RES-01", Area: "resilience", Level: Must, Status: Passed, Seconds: 21.4, Source: "failures.md, recovery budgets",
			Assertion:    "delete active pod (graceful)",
			Measurements: map[string]float64{"outage_ms": 940, "writes_total": 10712, "acked_writes_lost": 0}},
		{ID: "RES-02", Area: "resilience", Level: Must, Status: Passed, Seconds: 18.9, Source: "failures.md, recovery budgets",
			Assertion: "SIGKILL active process", Measurements: map[string]float64{"outage_ms": 2310, "writes_total": 9950}},
		{ID: "RES-05", Area: "resilience", Level: Must, Status: Failed, Seconds: 64.2, Source: "hashicorp/vault#22063",
			Assertion:    "leader in minority partition: writes refused, no split brain, heals",
			Reason:       "the outage lasted 11.24 s, the budget is 8 s: EndpointSlice vault-active listed 10.244.3.4 (vault-2, cut off) until 11.01 s after the partition, 6.9 s after vault-0 was elected",
			Measurements: map[string]float64{"outage_ms": 11240, "stale_endpoint_ms": 6900, "acked_writes_lost": 0}},
		{ID: "RES-10", Area: "resilience", Level: Must, Status: Passed, Seconds: 3.1, Source: "raft",
			Assertion:    "every acknowledged write is readable after each fault (monotonic counter/KV cas)",
			Measurements: map[string]float64{"acked_writes_total": 29213, "acked_writes_lost": 0}},
		{ID: "RES-11", Area: "resilience", Level: Should, Status: Skipped, Source: "a post-mortem of 2026-04-22",
			Assertion: "leader SIGSTOP / fsync stall: detected and bypassed", Reason: "the kernel has no cgroup freezer that Chaos Mesh can use"},
		{ID: "BOOT-01", Area: "bootstrap", Level: Must, Status: Passed, Seconds: 0.8, Source: "mojaloop/project#4326; hashicorp/vault#19952",
			Assertion: "exactly one init: every pod reports the same cluster_id and raft config has N servers"},
		{ID: "BOOT-04", Area: "bootstrap", Level: Must, Status: Passed, Seconds: 12.2, Source: "bank-vaults#235",
			Assertion: "idempotent: rerun on an initialised Vault adds 0 GSM versions and 0 writes"},
		{ID: "ACT-01", Area: "routing", Level: Must, Status: Passed, Seconds: 5.0, Source: "hashicorp/vault#18117",
			Assertion: "steady state: exactly one pod vault-active=true and it is sys/leader is_self"},
		{ID: "ACT-02", Area: "routing", Level: Must, Status: Passed, Seconds: 0.4, Source: "vault-helm#326",
			Assertion: "active Service EndpointSlice ready addresses == that pod IP"},
		{ID: "ACT-03", Area: "routing", Level: Must, Status: Passed, Seconds: 0.1, Source: "service-registration doc vs vault-helm values:809; #430, #817, PR#902",
			Assertion: "client Services publishNotReadyAddresses=false, headless true"},
		{ID: "TLS-05", Area: "tls", Level: Must, Status: Passed, Seconds: 1.3, Source: "vault-helm values 919/1005",
			Assertion: "no plaintext listener incl. loopback"},
		{ID: "ISO-01", Area: "isolation", Level: Must, Status: Passed, Seconds: 0.3, Source: `production-hardening "single tenancy"`,
			Assertion: "all Vault pods only on pool nodes (label+NoSchedule taint); no foreign non-DaemonSet pod there"},
		{ID: "ISO-02", Area: "isolation", Level: Must, Status: Inconclusive, Seconds: 30, Source: "vault-helm values.yaml affinity",
			Assertion: "required anti-affinity on hostname: N distinct nodes; replica N+1 stays Pending",
			Reason:    "the fourth replica was never created within 30 s, so nothing shows that it would have stayed Pending"},
		{ID: "OPS-08", Area: "ops", Level: Should, Status: Failed, Seconds: 2.2, Source: "bank-vaults operator_client.go:352,365,369",
			Assertion: "log level not debug/trace; sidecar logs canary-clean at every level", Reason: `vault-1 runs with log_level "debug"`},
	}
}

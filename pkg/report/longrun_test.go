package report

import (
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"time"

	"github.com/vaultproof/vaultproof/pkg/timeline"
)

// longKinds are the faults of longRun, and how long each keeps clients waiting
// in ms.
var longKinds = []struct {
	check, kind string
	outage      float64
}{
	{"RES-01", "pod-delete", 900}, {"RES-02", "process-kill", 2300}, {"RES-04", "node-poweroff", 4200}, {"RES-05", "zone-partition", 4800},
	{"RES-08", "all-pods", 9500}, {"ACT-05", "crash-loop", 2500}, {"ACT-06", "node-poweroff", 3900}, {"ACT-08", "api-partition", 2600},
}

// longRun is a run of d with 8 kinds of faults, so many trials of each, and 140
// operations a second: a million in two hours.
func longRun(d time.Duration, trials int) (*Report, []timeline.Event) {
	random := rand.New(rand.NewPCG(3, 5))
	r := sampleReport()
	r.Faults, r.RunID, r.Ended = nil, "20261124-010203-91cd", sampleStart.Add(d+12*time.Second)
	pause := d / time.Duration(trials*len(longKinds)+1)
	var events []timeline.Event
	add := func(at time.Time, kind timeline.Kind, subject, value string) {
		events = append(events, timeline.Event{At: at, Kind: kind, Subject: subject, Value: value})
	}
	active, term := 0, 7
	for _, pod := range samplePods {
		add(sampleStart, timeline.Seal, pod, "unsealed")
		add(sampleStart, timeline.Leader, pod, map[bool]string{true: "active", false: "standby"}[pod == samplePods[active]])
		add(sampleStart, timeline.Label, pod, fmt.Sprint(pod == samplePods[active]))
	}
	add(sampleStart, timeline.Endpoints, "vault-active", samplePods[active])
	add(sampleStart, timeline.Term, samplePods[active], fmt.Sprint(term))
	at := sampleStart
	for _, k := range longKinds {
		for trial := range trials {
			at = at.Add(pause)
			next := (active + 1 + random.IntN(2)) % 3
			noise := math.Exp(0.2 * random.NormFloat64())
			ms := func(v float64) *float64 { return MS(round(v * noise)) }
			f := Fault{
				ID: fmt.Sprintf("%s#%d", k.check, trial+1), Check: k.check, Kind: k.kind, Target: samplePods[active] + " (active)", BudgetMS: k.outage * 1.4,
				Witness:  fmt.Sprintf("container vault of %s ended with exit code 137, restart count went from %d to %d", samplePods[active], trial, trial+1),
				Phases:   Phases{ms(20), ms(k.outage * .8), ms(k.outage * .87), ms(k.outage * .92), ms(k.outage + 20), ms(k.outage + 2500)},
				OutageMS: *ms(k.outage), InjectedAt: at, WitnessedAt: at.Add(300 * time.Millisecond), RecoveredAt: at.Add(pause / 3),
			}
			r.Faults = append(r.Faults, f)
			term++
			add(later(at, f.Phases.Elected), timeline.Leader, samplePods[next], "active")
			add(later(at, f.Phases.Labelled), timeline.Label, samplePods[next], "true")
			add(later(at, f.Phases.Labelled), timeline.Label, samplePods[active], "false")
			add(later(at, f.Phases.Routed), timeline.Endpoints, "vault-active", samplePods[next])
			add(at.Add(100*time.Millisecond), timeline.Leader, samplePods[active], "unreachable")
			add(at.Add(100*time.Millisecond), timeline.Seal, samplePods[active], "unreachable")
			add(later(at, f.Phases.Unsealed), timeline.Seal, samplePods[active], "unsealed")
			add(later(at, f.Phases.Unsealed), timeline.Leader, samplePods[active], "standby")
			add(later(at, f.Phases.Elected), timeline.Term, samplePods[next], fmt.Sprint(term))
			active = next
		}
	}
	events = append(events, longOperations(r.Faults, d, random)...)
	timeline.Sort(events)
	return r, events
}

func longOperations(faults []Fault, d time.Duration, random *rand.Rand) []timeline.Event {
	var ops []timeline.Event
	for i := range int(d.Seconds() * 140) {
		at := sampleStart.Add(time.Duration(float64(i) / 140 * float64(time.Second)))
		op := timeline.Event{At: at, Kind: timeline.Operation, Subject: []string{"read", "write"}[i%2], Value: "vault-0", OK: true, LatencyMS: (3 + 4*float64(i%2)) * math.Exp(0.3*random.NormFloat64())}
		if random.IntN(2000) == 0 {
			op.LatencyMS *= 40
		}
		k, _ := slices.BinarySearchFunc(faults, at, func(f Fault, at time.Time) int { return f.InjectedAt.Compare(at) })
		if k > 0 && at.Before(later(faults[k-1].InjectedAt, faults[k-1].Phases.FirstWrite)) {
			op.OK, op.Value, op.LatencyMS, op.Detail = false, "", 0, fmt.Sprintf("read tcp 10.244.4.9:%d->10.96.14.7:8200: i/o timeout", 30000+i%20000)
		}
		ops = append(ops, op)
	}
	return ops
}

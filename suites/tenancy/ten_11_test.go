package tenancy

import (
	"context"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/vaultproof/vaultproof/fixtures/tenant/journal"
	"github.com/vaultproof/vaultproof/fixtures/tenant/workload"
	"github.com/vaultproof/vaultproof/pkg/conformance"
	"github.com/vaultproof/vaultproof/pkg/fault"
	"github.com/vaultproof/vaultproof/pkg/target"
	"github.com/vaultproof/vaultproof/pkg/tenancy"
	"github.com/vaultproof/vaultproof/pkg/timeline"
	"github.com/vaultproof/vaultproof/suites/trial"
)

var noon = time.Date(2026, 5, 1, 12, 0, 0, 0, time.UTC)

func after(seconds float64) time.Time {
	return noon.Add(time.Duration(seconds * float64(time.Second)))
}

// span is a time in which operations fail, in seconds after the fault.
type span struct{ from, to float64 }

// steady are operations at a rate from 5 s before the fault until 30 s after, all of which
// succeed at once but those in the spans.
func steady(rate float64, failing ...span) []timeline.Event {
	var events []timeline.Event
	for i := range int(35 * rate) {
		at := -5 + float64(i)/rate
		e := timeline.Event{At: after(at), Kind: timeline.Operation, Subject: "login", OK: true, LatencyMS: 20}
		if slices.ContainsFunc(failing, func(s span) bool { return at >= s.from && at < s.to }) {
			e.OK, e.Detail = false, "HTTP 503"
		}
		events = append(events, e)
	}
	return events
}

// killed is a trial of a kill; cut one of a cut that lasted 15 s.
var killed = trial.Result{ID: "TEN-11#1", Kind: "process-kill", Target: "vault-0", Active: "vault-0", At: noon, Undone: after(10), End: after(30)}

func TestFailuresInTheOutageAlone(t *testing.T) {
	r := &conformance.Case{Budget: 8 * time.Second}
	hit, both := []time.Time{noon}, []time.Time{noon, after(15)}
	starved := killed
	starved.Late = time.Second
	for name, c := range map[string]struct {
		failing []span
		moments []time.Time
		res     trial.Result
		want    string
	}{
		"none":                        {nil, hit, killed, ""},
		"an outage":                   {[]span{{0, 3}}, hit, killed, ""},
		"those under way":             {[]span{{-1, 3}}, hit, killed, ""},
		"two within the budget":       {[]span{{0, 2}, {4, 6}}, hit, killed, ""},
		"an outage beyond the budget": {[]span{{0, 9}}, hit, killed, "budget 8s"},
		"two beyond the budget":       {[]span{{0, 2}, {7, 9}}, hit, killed, "budget 8s"},
		"on a starved machine":        {[]span{{0, 9}}, hit, starved, "repeat it with less beside it"},
		"for ever":                    {[]span{{2, 30}}, hit, killed, "still failing"},
		"long after a kill":           {[]span{{0, 2}, {20, 21}}, hit, killed, "operations failed from 12:00:20.000"},
		"when a cut ends":             {[]span{{0, 3}, {15, 17}}, both, killed, ""},
		"between the cut and its end": {[]span{{0, 3}, {10, 11}}, both, killed, "operations failed from 12:00:10.000"},
	} {
		s := series{name: "login", what: "logins", rate: 50, events: steady(50, c.failing...)}
		err := s.judge(r, c.res, c.moments)
		if (c.want == "") != (err == nil) || err != nil && !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %v, want %q", name, err, c.want)
		}
	}
}

func TestConnectionsToPostgresNeverFail(t *testing.T) {
	r := &conformance.Case{Budget: 8 * time.Second}
	s := series{name: "postgres", what: "connections", rate: 4, spared: true, events: steady(4)}
	if err := s.judge(r, killed, []time.Time{noon}); err != nil {
		t.Error(err)
	}
	s.events = steady(4, span{1, 1.2})
	if err := s.judge(r, killed, []time.Time{noon}); err == nil || !strings.Contains(err.Error(), "12:00:01.000 failed, 1s after process-kill of vault-0: HTTP 503") {
		t.Errorf("one failed in the outage: %v", err)
	}
}

func TestEnoughToTell(t *testing.T) {
	s := series{rate: 50, events: steady(50, span{0, 5})}
	if err := s.enough(killed); err != nil {
		t.Error(err)
	}
	s.rate = 60
	if err := s.enough(killed); err == nil || !strings.Contains(err.Error(), "want at least 1890") {
		t.Errorf("with fewer than were to be: %v", err)
	}
	broken := series{rate: 50, events: steady(50, span{-4, -3.9})}
	if err := broken.enough(killed); err == nil || !strings.Contains(err.Error(), "failed before the fault: HTTP 503") {
		t.Errorf("with failures before the fault: %v", err)
	}
}

func TestVolleys(t *testing.T) {
	for trials, want := range map[int]int{0: 5, 1: 5, 5: 5, 6: 10} {
		steps := volleys([]string{"vault-0", "vault-1", "vault-2"}, trials, rand.New(rand.NewPCG(1, 2)))
		kinds := map[string]int{}
		for i, s := range steps {
			kinds[s.Kind]++
			if s.N != i+1 {
				t.Errorf("%d trials: step %d has the number %d", trials, i, s.N)
			}
		}
		if len(steps) != want || kinds[killActive] != want/5 || kinds[drainNode] != 3*want/5 || kinds[cutZone] != want/5 {
			t.Errorf("%d trials: %d steps, %v; want %d", trials, len(steps), kinds, want)
		}
	}
}

func TestEachStepIsItsFault(t *testing.T) {
	f := &fire{r: &conformance.Case{Budget: time.Second, Faults: &fault.Env{}}}
	var states []target.PodState
	for _, n := range []string{"0", "1", "2"} {
		pod := corev1.Pod{ObjectMeta: metav1.ObjectMeta{Name: "vault-" + n}, Spec: corev1.PodSpec{NodeName: "node-" + n}}
		states = append(states, target.PodState{Pod: pod, Zone: "zone-" + n})
	}
	for _, s := range volleys([]string{"vault-0", "vault-1", "vault-2"}, 1, rand.New(rand.NewPCG(1, 2))) {
		p := f.plan(s)
		made, err := p.Make(context.Background(), states, states[1])
		if err != nil {
			t.Fatal(err)
		}
		want, lasts := "vault-1", false
		switch s.Kind {
		case drainNode:
			want = "node-" + strings.TrimPrefix(s.Target, "vault-")
		case cutZone:
			want, lasts = "zone-1", true
		}
		if !strings.Contains(made.Target(), want) || (p.Hold != nil) != lasts {
			t.Errorf("%s is a %s of %s, want of %s", s, made.Kind(), made.Target(), want)
		}
	}
	gone := f.plan(volleys([]string{"vault-9"}, 1, rand.New(rand.NewPCG(1, 2)))[1])
	if _, err := gone.Make(context.Background(), states, states[0]); err == nil || !strings.Contains(err.Error(), "no pod vault-9") {
		t.Errorf("a pod that is gone: %v", err)
	}
}

func TestKeepStep(t *testing.T) {
	entries := []journal.Entry{{Due: after(0), TookMS: 2000}, {Due: after(1), TookMS: 20}}
	for seconds, want := range map[float64]string{2: "", 4.9: "", 5.1: "either it has stopped", 0.9: "the clock of its node is wrong"} {
		err := keepStep(entries, after(seconds))
		if (want == "") != (err == nil) || err != nil && !strings.Contains(err.Error(), want) {
			t.Errorf("%.1f s later: %v, want %q", seconds, err, want)
		}
	}
	if err := keepStep(nil, noon); err == nil {
		t.Error("an application that tells of nothing is in step")
	}
}

func TestTheLedger(t *testing.T) {
	l, tenant := ledger{}, tenancy.NewTenant("a")
	in := func(account string, ok bool) journal.Entry {
		return journal.Entry{Kind: journal.Postgres, OK: ok, Account: account}
	}
	l.used(tenant, []journal.Entry{in("v-1", true), in("v-1", true), in("v-2", false), {Kind: journal.KV, OK: true}})
	l.used(tenant, []journal.Entry{in("v-2", true)})
	b := l.of(tenant)
	if b.current != "v-2" || b.changes != 1 {
		t.Errorf("it came in last with %s after %d changes, want v-2 after 1", b.current, b.changes)
	}
	b.took([]workload.Account{{Name: "v-1", ValidUntil: after(10)}, {Name: "v-2", ValidUntil: after(60)}})
	b.took([]workload.Account{{Name: "v-1", ValidUntil: after(10)}, {Name: "v-2", ValidUntil: after(100)}, {Name: "v-3", ValidUntil: after(160)}})
	if b.renewals != 1 {
		t.Errorf("%d renewals, want 1: another account is none", b.renewals)
	}
}

func TestEachLeaseHasItsAccount(t *testing.T) {
	account := func(name string, until float64) workload.Account {
		return workload.Account{Name: name, ValidUntil: after(until)}
	}
	for name, c := range map[string]struct {
		leases   []string
		accounts []workload.Account
		current  string
		want     string
	}{
		"as it should be":      {[]string{"x", "y"}, []workload.Account{account("v-1", 60), account("v-2", 60)}, "v-1", ""},
		"about to be dropped":  {[]string{"x"}, []workload.Account{account("v-1", -20)}, "v-1", ""},
		"nothing":              {nil, nil, "", ""},
		"an account left over": {[]string{"x"}, []workload.Account{account("v-1", 60), account("v-2", 60)}, "v-1", "2 accounts (v-1, v-2) and Vault 1 leases (x); want no account left behind"},
		"never dropped":        {[]string{"x", "y"}, []workload.Account{account("v-1", 60), account("v-2", -40)}, "v-1", "the accounts v-2 (valid until 11:59:20.000) are left behind"},
		"a lease without one":  {[]string{"x", "y"}, []workload.Account{account("v-1", 60)}, "v-1", "Vault has 2 leases (x, y) and PostgreSQL 1 accounts (v-1); want no lease whose account is lost"},
		"not the one in use":   {[]string{"x"}, []workload.Account{account("v-1", 60)}, "v-2", "account v-2, with which the application comes in"},
	} {
		err := standing{tenant: "a", leases: c.leases, accounts: c.accounts}.accounted(c.current, noon)
		if (c.want == "") != (err == nil) || err != nil && !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %v, want %q", name, err, c.want)
		}
	}
	if err := (standing{tenant: "a"}).emptied(); err != nil {
		t.Error(err)
	}
	for _, s := range []standing{{leases: []string{"x"}}, {accounts: []workload.Account{account("v-1", 60)}}} {
		if err := s.emptied(); err == nil {
			t.Errorf("%+v is nothing left", s)
		}
	}
}

package resilience

import (
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/vaultproof/vaultproof/pkg/history"
	"github.com/vaultproof/vaultproof/pkg/probe"
	"github.com/vaultproof/vaultproof/suites/trial"
)

var lostFrom = time.Date(2026, 5, 1, 12, 0, 0, 0, time.UTC)

func aLoss() quorumLoss {
	refusal := errors.New("context deadline exceeded")
	tried := func(errs ...error) (attempts []attempt) {
		for i, err := range errs {
			attempts = append(attempts, attempt{at: lostFrom.Add(time.Duration(i+1) * time.Second), err: err})
		}
		return attempts
	}
	return quorumLoss{
		pods: []string{"vault-0", "vault-1"}, from: lostFrom, until: lostFrom.Add(20 * time.Second),
		attempts: map[string][]attempt{"vault-0": tried(refusal, refusal), "vault-1": tried(refusal)},
	}
}

func TestNoPodTakesAWriteWithoutQuorum(t *testing.T) {
	good := aLoss()
	if err := good.refused(); err != nil {
		t.Error(err)
	}
	took, untried := aLoss(), aLoss()
	took.attempts["vault-0"][1].err = nil
	untried.attempts["vault-1"] = nil
	for want, l := range map[string]quorumLoss{
		"pod vault-0 acknowledged a write at 12:00:02.000, 2s after": took,
		"no write was tried on pod vault-1":                          untried,
	} {
		if err := l.refused(); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%v, want %q", err, want)
		}
	}
}

// anOp is an operation on key a, asked and answered so long after the loss.
func anOp(kind history.Kind, version int, asked, answered time.Duration) history.Op {
	return history.Op{
		Kind: kind, Key: "a", Version: version, Outcome: history.OK, Pod: "vault-1",
		Call: lostFrom.Add(asked).UnixNano(), Return: lostFrom.Add(answered).UnixNano(),
	}
}

func TestClientsAreToldOfNoWriteWithoutQuorum(t *testing.T) {
	l := aLoss()
	refused := anOp(history.Write, 0, 5*time.Second, 6*time.Second)
	refused.Outcome = history.Fail
	fine := []probe.Operation{
		{Op: anOp(history.Write, 3, -time.Second, time.Second)},      // asked before
		{Op: anOp(history.Write, 4, 19*time.Second, 21*time.Second)}, // answered after
		{Op: anOp(history.Read, 3, time.Second, 2*time.Second)}, {Op: refused},
	}
	if err := l.unacknowledged(fine); err != nil {
		t.Error(err)
	}
	for _, kind := range []history.Kind{history.Write, history.Append} {
		err := l.unacknowledged(append(fine, probe.Operation{Op: anOp(kind, 4, 4*time.Second, 5*time.Second)}))
		if err == nil || !strings.Contains(err.Error(), "at 12:00:04.000, 4s after") {
			t.Errorf("an acknowledged %s: %v", kind, err)
		}
	}
}

func TestWhatWasAcknowledgedIsReadAgain(t *testing.T) {
	l := aLoss()
	before := []history.Op{
		anOp(history.Write, 3, -2*time.Second, -time.Second),
		anOp(history.Write, 4, -time.Second, time.Second),   // nobody knows
		anOp(history.Read, 1, 5*time.Second, 6*time.Second), // not after the return
	}
	for name, c := range map[string]struct {
		op   history.Op
		keys int
		err  string
	}{
		"as it was":     {anOp(history.Read, 3, 25*time.Second, 26*time.Second), 1, ""},
		"written since": {anOp(history.Read, 9, 25*time.Second, 26*time.Second), 1, ""},
		"lost":          {anOp(history.Read, 2, 25*time.Second, 26*time.Second), 1, "key a was acknowledged at version 3 before the quorum was lost, and pod vault-1 gave version 2"},
		"gone":          {anOp(history.Read, 0, 25*time.Second, 26*time.Second), 1, "gave version 0"},
		"never read":    {anOp(history.Write, 5, 25*time.Second, 26*time.Second), 0, ""},
	} {
		keys, err := l.readAgain(append(before[:3:3], c.op))
		if keys != c.keys || (c.err == "") != (err == nil) || err != nil && !strings.Contains(err.Error(), c.err) {
			t.Errorf("%s: %d keys, %v; want %d, %q", name, keys, err, c.keys, c.err)
		}
	}
}

func TestEndOf(t *testing.T) {
	window := func(start, end time.Duration, open bool) trial.Result {
		return trial.Result{Outage: probe.Window{Start: lostFrom.Add(start), End: lostFrom.Add(end), Open: open}}
	}
	from := lostFrom.Add(20 * time.Second)
	for name, c := range map[string]struct {
		res  trial.Result
		want time.Duration
	}{
		"over before":      {window(time.Second, 19*time.Second, false), 0},
		"over after":       {window(time.Second, 24*time.Second, false), 4 * time.Second},
		"begun after":      {window(22*time.Second, 24*time.Second, false), 2 * time.Second},
		"no outage at all": {trial.Result{}, 0},
	} {
		if got := endOf(c.res, from).Outage.Length(); got != c.want {
			t.Errorf("%s: %s, want %s", name, got, c.want)
		}
	}
	if !endOf(window(time.Second, 30*time.Second, true), from).Outage.Open {
		t.Error("an outage that never ended passes for one that did")
	}
}

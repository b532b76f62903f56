package tenancy

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"
)

// A Vault that verifies by public keys alone lets tenants in whose API server cannot be asked:
// it fails open.
func TestAVaultThatFailsOpenIsSeen(t *testing.T) {
	closed := time.Now()
	at := func(o outcome, after, took time.Duration) outcome {
		o.began, o.took = closed.Add(after), took
		return o
	}
	late, good := outcome{err: context.DeadlineExceeded}, outcome{}
	read := []outcome{at(good, time.Second, time.Millisecond)}
	for name, c := range map[string]struct {
		knocked, read []outcome
		want          string // in the error; empty for none
	}{
		"closed":        {[]outcome{at(late, time.Second, patience)}, read, ""},
		"answered":      {[]outcome{at(answered(403), time.Second, time.Second)}, read, ""},
		"let in before": {[]outcome{at(letIn("p"), -time.Second, time.Second), at(late, time.Second, patience)}, read, ""},
		"let in after":  {[]outcome{at(late, time.Second, patience), at(letIn("p"), 19*time.Second, 2*time.Second)}, read, ""},
		"let in":        {[]outcome{at(letIn("p"), time.Second, time.Second)}, read, "fail closed"},
		"hangs":         {[]outcome{at(late, time.Second, 3*patience)}, read, "took 15s"},
		"nobody tried":  {nil, read, "nobody tried"},
		"nobody read":   {[]outcome{at(late, time.Second, patience)}, nil, "no tenant read"},
		"useless token": {[]outcome{at(late, time.Second, patience)}, []outcome{at(outcome{err: errors.New("status 500")}, time.Second, time.Second)}, "status 500"},
	} {
		s := &siege{knocked: c.knocked, read: c.read, closed: closed, lifting: closed.Add(outOfReach)}
		err := s.judge()
		if c.want == "" && err != nil || c.want != "" && (err == nil || !strings.Contains(err.Error(), c.want)) {
			t.Errorf("%s: %v, want %q", name, err, c.want)
		}
	}
}

func TestADoorThatStaysShutIsSeen(t *testing.T) {
	s := &siege{opened: time.Now().Add(-backWithin + 50*time.Millisecond), knock: func(context.Context) outcome { return answered(403) }}
	if err := s.reopened(t.Context()); err == nil || !strings.Contains(err.Error(), "still lets nobody in") {
		t.Errorf("%v", err)
	}
	s.knock = func(context.Context) outcome { return letIn("p") }
	s.opened = time.Now()
	if err := s.reopened(t.Context()); err != nil {
		t.Error(err)
	}
}

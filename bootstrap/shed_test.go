package main

import (
	"context"
	"os"
	"reflect"
	"testing"
	"time"

	"github.com/vaultproof/vaultproof/bootstrap/machine"
	"github.com/vaultproof/vaultproof/bootstrap/sidecar"
	"github.com/vaultproof/vaultproof/bootstrap/status"
	"github.com/vaultproof/vaultproof/fixtures/secretmanager"
)

func serving() machine.Turn {
	return machine.Turn{Decision: machine.Decision{Row: machine.Row{State: machine.Serving}}}
}

func TestMemoryIsShedWhenSecretsHaveDoneTheirWork(t *testing.T) {
	now := time.Now()
	for name, c := range map[string]struct {
		after time.Duration
		used  bool
		now   time.Time
		turn  func(*machine.Turn)
		want  bool
	}{
		"quiet for long enough": {5 * time.Second, true, now.Add(6 * time.Second), nil, true},
		"used just now":         {5 * time.Second, true, now.Add(time.Second), nil, false},
		"never used":            {5 * time.Second, false, now.Add(time.Hour), nil, false},
		"turned off":            {0, true, now.Add(time.Hour), nil, false},
		"sealed":                {5 * time.Second, true, now.Add(time.Hour), func(t *machine.Turn) { t.Decision.State = machine.KeysStored }, false},
		"keys in hand":          {5 * time.Second, true, now.Add(time.Hour), func(t *machine.Turn) { t.Facts.KeysInHand = true }, false},
	} {
		s := &skin{after: c.after}
		if c.used {
			s.touch()
		}
		turn := serving()
		if c.turn != nil {
			c.turn(&turn)
		}
		if got := s.due(turn, c.now); got != c.want {
			t.Errorf("%s: due %t, want %t", name, got, c.want)
		}
	}
}

func TestWhatIsHandedOn(t *testing.T) {
	t.Setenv(resumeEnv, "")
	want := sidecar.Resume{Provisioned: true, RenewAt: time.Now().Add(time.Hour).Round(0).UTC(), Reservation: "r", LastUnseal: time.Second,
		Tokens: map[string]time.Time{"provisioner": time.Now().Add(time.Hour).Round(0).UTC()}}
	if err := handOn(want); err != nil {
		t.Fatal(err)
	}
	got, again, err := resumed(os.LookupEnv)
	if err != nil || !again || !reflect.DeepEqual(got, want) {
		t.Errorf("handed on %+v (%t, %v), want %+v", got, again, err, want)
	}
	if _, _, err := resumed(func(string) (string, bool) { return "{", true }); err == nil {
		t.Error("garbage was taken for a past life")
	}
	if _, again, err := resumed(func(string) (string, bool) { return "", false }); again || err != nil {
		t.Errorf("a first life takes itself for another (%v)", err)
	}
}

// TestShed: a life that ends by shedding says so, and the next one goes on without
// looking at the tokens in custody again.
func TestShed(t *testing.T) {
	r := newRig(t, 1)
	p := r.pods[0]
	p.extra = []string{"-shed-after", "1s"}
	p.startVault()
	t.Setenv(resumeEnv, "")
	_ = os.Unsetenv(resumeEnv)
	ctx, cancel := context.WithTimeout(t.Context(), settle)
	defer cancel()
	if err := run(ctx, p.args(), &p.log); err == nil || err.Error() != errShed.Error() {
		t.Fatalf("the first life ended with %v, want that memory is shed", err)
	}
	past, again, err := resumed(os.LookupEnv)
	if err != nil || !again || !past.Provisioned || len(past.Tokens) == 0 {
		t.Fatalf("handed on %+v (%t, %v)", past, again, err)
	}
	// It has no need of custody, so it does not notice that it is shut.
	r.Custody.Fault(secretmanager.Fault{Mode: secretmanager.FaultDeny})
	p.startSidecar()
	p.await("provisioned", settle, func(s status.Status) bool { return ready(s) && s.Provisioned })
}

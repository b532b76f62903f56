package fault

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"
)

// fakeSwitch is a custody that remembers what it was told and has the calls
// that a test gives it.
type fakeSwitch struct {
	set    []CustodyFault
	heals  int
	calls  []CustodyCall
	setErr error
}

func (s *fakeSwitch) Set(_ context.Context, f CustodyFault) error {
	s.set = append(s.set, f)
	return s.setErr
}
func (s *fakeSwitch) Heal(context.Context) error { s.heals++; return nil }
func (s *fakeSwitch) Calls(context.Context, time.Time) ([]CustodyCall, error) {
	return s.calls, nil
}

func TestCustodyOutageIsWitnessedByAFailedCall(t *testing.T) {
	call := func(edit func(*CustodyCall)) CustodyCall {
		c := CustodyCall{Method: "AccessSecretVersion", Secret: "vault-unseal-share-0", Principal: "vault/vault", Code: "PermissionDenied"}
		edit(&c)
		return c
	}
	outage := CustodyOutage{Fault: CustodyFault{Mode: "deny", Method: "AccessSecretVersion"}, Principal: "vault/vault", Prefix: "vault-"}
	for name, c := range map[string]struct {
		call CustodyCall
		want bool
	}{
		"denied":            {call(func(*CustodyCall) {}), true},
		"answered":          {call(func(c *CustodyCall) { c.Code = "OK" }), false},
		"failed otherwise":  {call(func(c *CustodyCall) { c.Code = "Unavailable" }), false},
		"of somebody else":  {call(func(c *CustodyCall) { c.Principal = "tenant/app" }), false},
		"another method":    {call(func(c *CustodyCall) { c.Method = "CreateSecret" }), false},
		"of another secret": {call(func(c *CustodyCall) { c.Secret = "other-share" }), false},
	} {
		if evidence, got := outage.failedCall([]CustodyCall{c.call}); got != c.want {
			t.Errorf("%s: %t (%s), want %t", name, got, evidence, c.want)
		}
	}
	if _, got := outage.failedCall(nil); got {
		t.Error("no call at all is a witness")
	}
}

func TestACustodyOutageOfSomeSecretsIsNotWitnessedByOthers(t *testing.T) {
	for _, c := range []struct {
		meant, id string
		want      bool
	}{
		{"", "a", true}, {"a", "a", true}, {"a", "ab", false}, {"a*", "ab", true}, {"a*", "a", true}, {"a*", "b", false}, {"*", "b", true},
	} {
		outage := CustodyOutage{Fault: CustodyFault{Mode: "deny", Secret: c.meant}}
		if evidence, got := outage.failedCall([]CustodyCall{{Secret: c.id, Code: "PermissionDenied"}}); got != c.want {
			t.Errorf("a denied call for %q, where %q was to fail, is a witness: %t (%s), want %t", c.id, c.meant, got, evidence, c.want)
		}
	}
}

func TestCustodyOutage(t *testing.T) {
	sw := &fakeSwitch{calls: []CustodyCall{{Method: "AccessSecretVersion", Secret: "s", Principal: "vault/vault", Code: "Unavailable"}}}
	injected, err := (&CustodyOutage{Switch: sw, Fault: CustodyFault{Mode: "unavailable"}}).Inject(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if w, err := injected.Witness(t.Context()); err != nil || !strings.Contains(w.Evidence, "ended with Unavailable") {
		t.Errorf("witness %q (%v)", w.Evidence, err)
	}
	if err := injected.Recover(t.Context()); err != nil || sw.heals != 1 {
		t.Errorf("healed %d times (%v), want once", sw.heals, err)
	}

	quiet := &fakeSwitch{}
	injected, err = (&CustodyOutage{Switch: quiet, Fault: CustodyFault{Mode: "quota"}}).Inject(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 2*pollEvery)
	defer cancel()
	if _, err := injected.Witness(ctx); !errors.Is(err, ErrNoWitness) {
		t.Errorf("nobody called custody: %v, want ErrNoWitness", err)
	}
}

func TestCustodyOutageThatCannotBe(t *testing.T) {
	for name, f := range map[string]*CustodyOutage{
		"no switch":       {Fault: CustodyFault{Mode: "deny"}},
		"a mute mode":     {Switch: &fakeSwitch{}, Fault: CustodyFault{Mode: "delay"}},
		"no mode at all":  {Switch: &fakeSwitch{}},
		"an unknown mode": {Switch: &fakeSwitch{}, Fault: CustodyFault{Mode: "fire"}},
	} {
		if _, err := f.Inject(t.Context()); !errors.Is(err, ErrUnavailable) {
			t.Errorf("%s: %v, want ErrUnavailable", name, err)
		}
	}
	stuck := &fakeSwitch{setErr: errors.New("the admin port is closed")}
	if _, err := (&CustodyOutage{Switch: stuck, Fault: CustodyFault{Mode: "deny"}}).Inject(t.Context()); err == nil || stuck.heals != 1 {
		t.Errorf("a switch that fails: error %v, healed %d times", err, stuck.heals)
	}
}

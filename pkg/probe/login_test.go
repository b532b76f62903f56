package probe

import (
	"strings"
	"testing"
	"time"

	"github.com/vaultproof/vaultproof/pkg/history"
	"github.com/vaultproof/vaultproof/pkg/probe/internal/fakevault"
	"github.com/vaultproof/vaultproof/pkg/timeline"
)

// A prober that only logs in needs no token, and what its logins suffer can be told; the
// timeline, by which Vault's own outages are told, has none of it.
func TestAProberThatOnlyLogsIn(t *testing.T) {
	vault := fakevault.New("vault-0")
	defer vault.Close()
	opts := Options{
		Address: "https://vault.example.com:443", CA: vault.CA(), ServerName: fakevault.ServerName, Rate: -1, Log: timeline.New(nil),
		Logins: []Login{{
			Route: "ingress", Address: "https://vault.example.com:443", ServerName: fakevault.ServerName, Via: vault.Listener.Addr().String(),
			Mount: "tenant-a", Role: fakevault.Role, JWT: fakevault.JWT, Rate: 50,
		}},
	}
	p, _ := local(t, opts, portOf(t, vault.URL))
	started := time.Now()
	eventually(t, "a second of logins", func() bool { return len(p.Operations()) > 50 })
	stalled := time.Now()
	resume := vault.Stall()
	eventually(t, "a stall of more than a login waits for", func() bool { return time.Since(stalled) > 2500*time.Millisecond })
	resume()
	eventually(t, "logins after the stall", func() bool {
		events := Events(p.Operations(), LoginKind)
		w := Outage(events, stalled, time.Now())
		return !w.Open && w.Failed > 0 && Measure(events, w.End, time.Now()).OK > 50
	})
	if err := p.Stop(t.Context()); err != nil {
		t.Fatal(err)
	}
	ops := p.Operations()
	events := Events(ops, LoginKind)
	if m := Measure(events, started, stalled.Add(-time.Second)); m.Ratio < 1 && m.Total > 0 {
		t.Errorf("before the stall: %+v", m)
	}
	if w := Outage(events, stalled.Add(-2*time.Second), time.Now()); w.Length() < 2*time.Second || w.Length() > 6*time.Second {
		t.Errorf("a stall of 2.5 s is an outage of %s", w.Length())
	}
	if n := len(Events(ops, history.Read)); n > 0 || len(p.Ops()) > 0 || len(Only(opts.Log.Events(), string(LoginKind))) > 0 {
		t.Errorf("%d reads, %d registers, or logins in the timeline; want none", n, len(p.Ops()))
	}
	for _, o := range ops {
		if o.Route != "ingress" || strings.Contains(o.Error+o.Key, fakevault.JWT) {
			t.Fatalf("login %+v", o)
		}
	}
}

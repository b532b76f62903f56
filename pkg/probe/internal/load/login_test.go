package load

import (
	"context"
	"strings"
	"testing"
	"time"

	"github.com/vaultproof/vaultproof/pkg/history"
	"github.com/vaultproof/vaultproof/pkg/probe/internal/fakevault"
	"github.com/vaultproof/vaultproof/pkg/probe/internal/wire"
)

// onlyLogins has no token, and needs none.
func onlyLogins(change func(*wire.Stream)) func(*wire.Config) {
	return func(c *wire.Config) {
		login := wire.Stream{Kind: wire.Login, Route: "ingress", Mount: "tenant-a", Role: fakevault.Role, JWT: fakevault.JWT, Rate: 50}
		if change != nil {
			change(&login)
		}
		c.Rate, c.Token, c.Mount, c.Prefix, c.Streams = 0, "", "", "", []wire.Stream{login}
	}
}

func TestLogins(t *testing.T) { bubble(t, testLogins) }

func testLogins(t *testing.T) {
	b := newBench(t, onlyLogins(nil))
	var stalled, resumed int64
	records := b.run(4*time.Second, func(ctx context.Context) {
		pause(ctx, time.Second)
		stalled = b.load.clock.Now()
		resume := b.server.Stall()
		pause(ctx, time.Second)
		resume()
		resumed = b.load.clock.Now()
	})
	if n := len(records); n < 190 || n > 210 {
		t.Errorf("%d logins in 4 s, want about 200", n)
	}
	late := 0
	for _, r := range records {
		if r.Kind != LoginKind || r.Route != "ingress" || r.Key != "tenant-a" || r.Outcome != history.OK {
			t.Fatalf("a login against a healthy server: %+v", r)
		}
		if r.Due > stalled && r.Due < resumed && r.Return >= resumed {
			late++
		}
		if strings.Contains(r.Value+r.Error, "hvs.") {
			t.Errorf("a token is in a record: %+v", r)
		}
	}
	if late < 40 {
		t.Errorf("%d logins waited for a server that stalled for a second, want those of a second: the schedule must not wait", late)
	}
	b.final() // there is nothing to read, and it takes no time
}

func TestRefusedLogins(t *testing.T) { bubble(t, testRefusedLogins) }

func testRefusedLogins(t *testing.T) {
	for name, c := range map[string]struct {
		change func(*wire.Stream)
		want   string
	}{
		"another token": {func(s *wire.Stream) { s.JWT = "somebody.elses.token" }, "HTTP 403 permission denied"},
		"another role":  {func(s *wire.Stream) { s.Role = "admin" }, `HTTP 400 invalid role name "admin" for the service account's token`},
	} {
		b := newBench(t, onlyLogins(c.change))
		records := b.run(200*time.Millisecond, nil)
		if len(records) == 0 {
			t.Errorf("%s: nobody logged in", name)
		}
		for _, r := range records {
			if r.Outcome != history.Fail || r.Error != c.want {
				t.Errorf("%s: %s (%s), want a failure with %q", name, r.Outcome, r.Error, c.want)
			}
		}
	}
}

func TestLoginsNeedTheirMeans(t *testing.T) {
	for name, c := range map[string]struct {
		change func(*wire.Stream)
		want   string
	}{
		"no mount": {func(s *wire.Stream) { s.Mount = "" }, "it needs a mount"},
		"no role":  {func(s *wire.Stream) { s.Role = "" }, "it needs a role"},
		"no token": {func(s *wire.Stream) { s.JWT = "" }, "service account's token"},
	} {
		cfg := wire.Config{Address: "https://vault.example", CAPEM: []byte("a CA")}
		onlyLogins(c.change)(&cfg)
		if err := cfg.WithDefaults().Validate(); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %v, want %q", name, err, c.want)
		}
	}
	cfg := wire.Config{Address: "https://vault.example", CAPEM: []byte("a CA")}
	onlyLogins(nil)(&cfg)
	cfg.Streams = append(cfg.Streams, wire.Stream{Kind: wire.Token, Rate: 1})
	if err := cfg.WithDefaults().Validate(); err == nil || !strings.Contains(err.Error(), "load needs a token") {
		t.Errorf("with another stream beside the logins: %v, want that it needs a token", err)
	}
}

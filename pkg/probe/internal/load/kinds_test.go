package load

import (
	"context"
	"net"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/vaultproof/vaultproof/pkg/history"
	"github.com/vaultproof/vaultproof/pkg/probe/internal/wire"
)

// mixed has a stream of each kind, and registers on a way of their own.
func mixed(c *wire.Config) {
	c.Rate = 50
	c.Streams = []wire.Stream{
		{Kind: wire.Journal, Rate: 20},
		{Kind: wire.Transit, Mount: "transit", Rate: 20},
		{Kind: wire.Token, Rate: 20},
		{Kind: wire.Lease, Mount: "ssh", Rate: 20},
		{Kind: wire.Register, Route: "vault-1", Pod: "vault-1", Rate: 10},
	}
}

func count(records []wire.Record, is func(wire.Record) bool) (n int) {
	for _, r := range records {
		if is(r) {
			n++
		}
	}
	return n
}

func TestEveryKindIsSent(t *testing.T) { bubble(t, testEveryKindIsSent) }

func testEveryKindIsSent(t *testing.T) {
	b := newBench(t, mixed)
	records := b.run(4*time.Second, nil)
	for kind, want := range map[history.Kind]int{
		history.Read: 120, history.Write: 120, history.Append: 80, history.Encrypt: 40, history.Decrypt: 40,
		history.Issue: 40, history.Use: 80, history.Revoke: 20,
	} {
		if n := count(records, func(r wire.Record) bool { return r.Kind == kind }); n < want-8 || n > want+20 {
			t.Errorf("%d operations of kind %s, want about %d", n, kind, want)
		}
	}
	clients := map[int]string{}
	for _, r := range records {
		if err := r.Validate(); err != nil {
			t.Errorf("%+v: %v", r, err)
		}
		// To use what was revoked is the only thing that goes wrong.
		if (r.Outcome != history.OK) != r.Denied {
			t.Errorf("an operation failed against a healthy server: %+v", r)
		}
		if strings.Contains(r.Error+r.Key, "hvs.") || strings.Contains(r.Error+r.Key, "creds/") {
			t.Errorf("the id of a token or lease is in a record: %+v", r)
		}
		if r.Kind == history.Decrypt && (r.Want == "" || r.Value != r.Want) {
			t.Errorf("a decryption gave %q, want %q", r.Value, r.Want)
		}
		if (r.Route != "") != strings.HasPrefix(r.Key, "vault-1/") {
			t.Errorf("the key %s on the way %q", r.Key, r.Route)
		}
		stream := r.Route + "/" + kindsOf(r.Kind, r.Key)
		if other, used := clients[r.Client]; used && other != stream {
			t.Errorf("client %d is of %s and of %s", r.Client, other, stream)
		}
		clients[r.Client] = stream
	}
	b.judge(records)
	tokens, leases := b.server.Living()
	if tokens < 8 || tokens > grantsAlive || leases < 8 || leases > grantsAlive {
		t.Errorf("%d tokens and %d leases live, want 8 to %d of each", tokens, leases, grantsAlive)
	}
	final := b.final()
	var appended []string
	for _, r := range records {
		if r.Kind == history.Append {
			appended = append(appended, r.Value)
		}
	}
	found := slices.Clone(final.Journals["journal-0"])
	slices.Sort(appended)
	slices.Sort(found)
	if !slices.Equal(found, appended) {
		t.Errorf("the journal has %d entries, %d were appended", len(found), len(appended))
	}
}

// kindsOf is the kind of stream that an operation is of.
func kindsOf(kind history.Kind, key string) string {
	switch kind {
	case history.Read, history.Write:
		return wire.Register
	case history.Append:
		return wire.Journal
	case history.Encrypt, history.Decrypt:
		return wire.Transit
	default:
		name, _, _ := strings.Cut(key, "-")
		return name
	}
}

// The records hold what convicts a Vault that forgets tokens, or brings them back. In real
// time, so that the race detector sees it; see package raced.
func TestGrantsThatEndOrComeBackAreSeen(t *testing.T) {
	b := newBench(t, mixed)
	var revived, forgotten int64
	records := b.run(9*time.Second, func(ctx context.Context) {
		pause(ctx, 4*time.Second)
		b.server.Revive()
		revived = b.load.clock.Now()
		pause(ctx, 4*time.Second)
		b.server.Forget()
		forgotten = b.load.clock.Now()
	})
	revoked := map[string]bool{}
	back, lost := map[string]bool{}, map[string]bool{}
	for _, r := range records {
		name, _, _ := strings.Cut(r.Key, "-")
		switch {
		case r.Kind == history.Revoke && r.Return < revived && r.Outcome == history.OK:
			revoked[r.Key] = true
		case r.Kind == history.Use && r.Outcome == history.OK && r.Call > revived && revoked[r.Key]:
			back[name] = true
		case r.Kind == history.Use && r.Denied && r.Call > forgotten && !revoked[r.Key]:
			lost[name] = true
		}
	}
	if !back["token"] || !back["lease"] {
		t.Errorf("a use of what was revoked and came back was seen of %v, want of tokens and leases", back)
	}
	if !lost["token"] || !lost["lease"] {
		t.Errorf("a use of what was forgotten was seen as denied of %v, want of tokens and leases", lost)
	}
}

func TestAStallLeavesNoGrantInTwoHands(t *testing.T) { bubble(t, testAStallLeavesNoGrantInTwoHands) }

func testAStallLeavesNoGrantInTwoHands(t *testing.T) {
	b := newBench(t, func(c *wire.Config) { mixed(c); c.Timeout = 500 * time.Millisecond })
	records := b.run(6*time.Second, func(ctx context.Context) {
		pause(ctx, 2*time.Second)
		resume := b.server.Stall()
		pause(ctx, 2*time.Second)
		resume()
	})
	slices.SortFunc(records, func(a, b wire.Record) int { return int(a.Call - b.Call) })
	ended := map[string]int64{}
	for _, r := range records {
		switch r.Kind {
		case history.Use, history.Revoke, history.Issue:
			if r.Call < ended[r.Key] {
				t.Errorf("%s of %s began before the operation before had ended", r.Kind, r.Key)
			}
			ended[r.Key] = r.Return
			if r.Denied && r.Call < 0 {
				t.Error("a stalled server denied something")
			}
		}
	}
	if n := count(records, func(r wire.Record) bool { return r.Kind == history.Revoke && r.Outcome == history.Unknown }); n == 0 {
		t.Error("no revocation is in doubt after a stall")
	}
}

// A stream to a pod follows it to another address, and tells when it is gone.
func TestAWayFollowsItsPod(t *testing.T) { bubble(t, testAWayFollowsItsPod) }

func testAWayFollowsItsPod(t *testing.T) {
	b := newBench(t, func(c *wire.Config) { mixed(c); c.Pods = wire.Pods{"vault-1": "10.0.0.1"} })
	way := b.load.streams[5].client
	var dialled []string
	dial := b.load.dialPod("vault-1", func(ctx context.Context, network, address string) (net.Conn, error) {
		dialled = append(dialled, address)
		return b.server.Dial(ctx, network, address)
	})
	way.pool.DialContext = dial
	read := func() reply {
		way.pool.CloseIdleConnections()
		return way.read(t.Context(), "k")
	}
	if r := read(); r.outcome != history.OK {
		t.Errorf("a read of the pod is %s (%s)", r.outcome, r.err)
	}
	b.load.SetPods(wire.Pods{"vault-1": "10.0.0.2"})
	read()
	if want := []string{"10.0.0.1:8200", "10.0.0.2:8200"}; !slices.Equal(dialled, want) {
		t.Errorf("dialled %v, want %v", dialled, want)
	}
	b.load.SetPods(nil)
	if r := read(); r.outcome != history.Fail || !strings.Contains(r.err, "pod vault-1 is gone") {
		t.Errorf("a read of a pod that is gone is %s (%s)", r.outcome, r.err)
	}
}

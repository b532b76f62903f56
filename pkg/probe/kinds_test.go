package probe

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/vaultproof/vaultproof/pkg/history"
	"github.com/vaultproof/vaultproof/pkg/probe/internal/fakevault"
	"github.com/vaultproof/vaultproof/pkg/timeline"
)

// every has every kind, and a way past the Service.
func every(opts Options) Options {
	opts.Rate, opts.Mix = 100, Mix{Registers: 60, Journals: 10, Transit: 10, Tokens: 10, Leases: 10}
	opts.Engines = Engines{Transit: "transit", SSH: "ssh"}
	opts.Log = timeline.New(nil)
	return opts
}

// kinds counts operations by kind, those that failed by themselves.
func kinds(ops []Operation) (good, failed map[history.Kind]int) {
	good, failed = map[history.Kind]int{}, map[history.Kind]int{}
	for _, o := range ops {
		if o.Outcome == history.OK {
			good[o.Kind]++
		} else {
			failed[o.Kind]++
		}
	}
	return good, failed
}

var allKinds = []history.Kind{
	history.Read, history.Write, history.Append, history.Encrypt, history.Decrypt, history.Issue, history.Use, history.Revoke,
}

// Other kinds and ways are beside the registers through the Service, which alone
// make the timeline, the rate and Ops.
func TestOtherKindsDoNotCountAsTraffic(t *testing.T) {
	vault := fakevault.New("vault-0")
	defer vault.Close()
	opts := every(Options{
		Address: vault.URL, CA: vault.CA(), ServerName: fakevault.ServerName, Token: fakevault.Token,
		Pods: map[string]string{"vault-0": "127.0.0.1"}, Ways: []Way{{Route: "vault-0", Pod: "vault-0", Rate: 20}},
	})
	p, _ := local(t, opts, portOf(t, vault.URL))
	if p.Rate() != 60 {
		t.Errorf("the rate is %g, want that of the registers, 60", p.Rate())
	}
	started := time.Now()
	eventually(t, "each kind", func() bool {
		good, _ := kinds(p.Operations())
		for _, kind := range allKinds {
			if good[kind] == 0 {
				return false
			}
		}
		return Measure(opts.Log.Events(), started, time.Now()).Total > 60
	})
	final, err := p.Final(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if err := p.Stop(t.Context()); err != nil {
		t.Fatal(err)
	}
	due := 0
	ways := map[string]int{}
	for _, o := range p.Operations() {
		ways[o.Route]++
		if o.clocked() {
			due++
		}
	}
	if ways[RouteService] == 0 || ways["vault-0"] == 0 {
		t.Errorf("operations by way: %v", ways)
	}
	if got := Measure(opts.Log.Events(), started.Add(-time.Minute), time.Now()); got.Total != due || due < 60 {
		t.Errorf("the timeline has %d operations, want the %d on registers through the Service", got.Total, due)
	}
	for _, op := range p.Ops() {
		if op.Kind != history.Read && op.Kind != history.Write || strings.Contains(op.Key, "/") {
			t.Fatalf("Ops has %+v", op)
		}
	}
	if len(final.Journals) != 1 || len(final.Journals["journal-0"]) == 0 || len(final.Registers) == 0 {
		t.Errorf("the last state is %+v", final)
	}
	var all []history.Op
	for _, o := range p.Operations() {
		all = append(all, o.Op)
	}
	if losses := history.Lost(all, final); len(losses) > 0 {
		t.Errorf("lost %v", losses)
	}
}

// What a real Vault answers is understood, kind by kind.
func TestRealVaultAnswersEveryKind(t *testing.T) {
	binary := os.Getenv("VAULT_BINARY")
	if binary == "" {
		t.Skip("VAULT_BINARY does not name a Vault binary")
	}
	v := newRealVault(t, binary)
	v.start()
	v.initialise()
	v.unseal()
	v.call("POST", "sys/mounts/load", map[string]any{"type": "kv", "options": map[string]string{"version": "2"}})
	v.call("POST", "sys/mounts/transit", map[string]any{"type": "transit"})
	v.call("POST", "sys/mounts/ssh", map[string]any{"type": "ssh", "config": map[string]any{"default_lease_ttl": "1h"}})
	v.call("POST", "ssh/roles/"+LeaseRole, map[string]any{"key_type": "otp", "default_user": "nobody", "cidr_list": LeaseHost + "/32"})
	host, err := os.Hostname()
	if err != nil {
		t.Fatal(err)
	}
	opts := every(Options{
		Address: v.url, CA: v.ca, ServerName: "vault.test", Token: v.token, Mount: "load", Pods: map[string]string{host: "127.0.0.1"},
	})
	p, _ := local(t, opts, v.port)
	eventually(t, "its cluster, index and term of raft", func() bool {
		told := map[timeline.Kind]bool{}
		for _, e := range opts.Log.Events() {
			told[e.Kind] = told[e.Kind] || e.Value != ""
		}
		return told[timeline.Cluster] && told[timeline.Index] && told[timeline.Term]
	})
	eventually(t, "uses of what was revoked, and a renewal", func() bool {
		denied, renewed := map[string]bool{}, false
		for _, o := range p.Operations() {
			if o.Denied {
				name, _, _ := strings.Cut(o.Key, "-")
				denied[name] = true
			}
			renewed = renewed || o.Kind == history.Use && o.Expires > 0
		}
		return len(denied) == 2 && renewed
	})
	final, err := p.Final(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if err := p.Stop(t.Context()); err != nil {
		t.Fatal(err)
	}
	good, _ := kinds(p.Operations())
	t.Log(good)
	for _, o := range p.Operations() {
		if err := o.Validate(); err != nil {
			t.Errorf("%+v: %v", o, err)
		}
		if o.Outcome != history.OK && !o.Denied {
			t.Errorf("an operation failed against a healthy Vault: %+v", o)
		}
	}
	for _, kind := range allKinds {
		if good[kind] == 0 {
			t.Errorf("no %s succeeded", kind)
		}
	}
	if len(final.Journals["journal-0"]) != good[history.Append] {
		t.Errorf("the journal has %d entries, %d were appended", len(final.Journals["journal-0"]), good[history.Append])
	}
	log, err := os.ReadFile(filepath.Join(v.dir, "log"))
	if err != nil {
		t.Fatal(err)
	}
	if strings.Contains(string(log), "panic") {
		t.Error("Vault panicked")
	}
}

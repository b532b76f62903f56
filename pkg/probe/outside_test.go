package probe

import (
	"context"
	"net"
	"strings"
	"testing"

	"github.com/vaultproof/vaultproof/pkg/history"
	"github.com/vaultproof/vaultproof/pkg/probe/internal/fakevault"
)

func TestLoadFromOutside(t *testing.T) {
	vault := fakevault.New("vault-0")
	defer vault.Close()
	dial := reach(vault.Listener.Addr().String())
	opts := OutsideOptions{
		Route: "ingress", Address: "https://vault.example.com:443", ServerName: fakevault.ServerName, CA: vault.CA(),
		Token: fakevault.Token, Mount: "secret", Prefix: "outside", Rate: 100,
		Dial: func(ctx context.Context) (net.Conn, error) { return dial(ctx, "", "") },
	}
	o, err := StartOutside(t.Context(), opts)
	if err != nil {
		t.Fatal(err)
	}
	eventually(t, "operations", func() bool { return len(o.Operations()) > 50 })
	final, err := o.Final(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	o.Stop() // again
	if n := len(o.Between(o.Operations()[10].Due, o.Operations()[20].Due)); n != 10 {
		t.Errorf("%d operations were due between the 11th and the 21st, want 10", n)
	}
	var all []history.Op
	for _, op := range o.Operations() {
		if op.Route != "ingress" || !strings.HasPrefix(op.Key, "ingress/") || op.Client < outsideClients || op.Outcome != history.OK {
			t.Fatalf("operation %+v", op)
		}
		if op.clocked() {
			t.Fatal("an outage would be computed from the load from outside")
		}
		all = append(all, op.Op)
	}
	if losses := history.Lost(all, final); len(losses) > 0 || len(final.Registers) == 0 {
		t.Errorf("lost %v of %d keys", losses, len(final.Registers))
	}
	for name, change := range map[string]func(*OutsideOptions){
		"no name of its own": func(o *OutsideOptions) { o.Route = RouteService },
		"no https URL":       func(o *OutsideOptions) { o.Address = "http://vault" },
		"out of range":       func(o *OutsideOptions) { o.Rate = 0 },
		"needs a token":      func(o *OutsideOptions) { o.Token = "" },
	} {
		broken := opts
		change(&broken)
		if _, err := StartOutside(t.Context(), broken); err == nil || !strings.Contains(err.Error(), name) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

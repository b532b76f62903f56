package connect

import (
	"flag"
	"strings"
	"testing"
)

func TestParse(t *testing.T) {
	env := func(name string) (string, bool) {
		v, ok := map[string]string{"CUSTODY_PROJECT": "of-env", "CUSTODY_PREFIX": "of-env", "VAULT_CA": "", "N": "seven"}[name]
		return v, ok
	}
	var o Options
	fs := flag.NewFlagSet("test", flag.ContinueOnError)
	o.Flags(fs)
	if err := Parse(fs, []string{"-custody-prefix", "given"}, env); err != nil {
		t.Fatal(err)
	}
	if o.Project != "of-env" || o.Prefix != "given" || o.VaultCA != "/vault/tls/ca.crt" {
		t.Errorf("%+v; want a flag before the environment, and that before the default", o)
	}
	if err := o.Check(); err != nil {
		t.Error(err)
	}
	fs.Int("n", 1, "")
	if err := Parse(fs, nil, env); err == nil || !strings.Contains(err.Error(), "variable N") {
		t.Errorf("error %v; want one that names the variable", err)
	}
	fs = flag.NewFlagSet("test", flag.ContinueOnError)
	fs.SetOutput(new(strings.Builder))
	for _, args := range [][]string{{"extra"}, {"-unknown"}} {
		if err := Parse(fs, args, env); err == nil {
			t.Errorf("%q was taken", args)
		}
	}
}

func TestCheck(t *testing.T) {
	for _, o := range []Options{{Prefix: "vault"}, {Project: "p"}} {
		if err := o.Check(); err == nil || !strings.Contains(err.Error(), "set -custody-") {
			t.Errorf("%+v: error %v; want one that names the flag", o, err)
		}
	}
}

func TestPeersLeaveThisPodOut(t *testing.T) {
	o := Options{VaultCA: "ca.crt"}
	peers, err := o.Peers("vault-1", "https://vault-0.vault-internal:8200, https://vault-1.vault-internal:8200,https://vault-2.vault-internal:8200,")
	if err != nil || len(peers) != 2 || peers["vault-0"] == nil || peers["vault-2"] == nil {
		t.Errorf("peers %v, error %v", peers, err)
	}
	for _, bad := range []string{"http://vault-0:8200", "vault-0:8200"} {
		if _, err := o.Peers("vault-1", bad); err == nil || !strings.Contains(err.Error(), "-peers") {
			t.Errorf("%s: error %v; want one that names the flag", bad, err)
		}
	}
}

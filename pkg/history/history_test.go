package history

import (
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
)

const ms = int64(1e6)

// write and read make operations of client 1 on key k; times are in ms.
func write(value string, cas, version int, from, to int64, outcome Outcome) Op {
	return Op{Client: 1, Kind: Write, Key: "k", Value: value, CAS: cas, Version: version,
		Call: from * ms, Return: to * ms, Outcome: outcome, Pod: "vault-0"}
}

func read(value string, version int, from, to int64) Op {
	return Op{Client: 2, Kind: Read, Key: "k", Value: value, Version: version,
		Call: from * ms, Return: to * ms, Outcome: OK, Pod: "vault-1"}
}

func TestSaveAndLoad(t *testing.T) {
	path := filepath.Join(t.TempDir(), "history.ndjson")
	want := []Op{
		write("a", 0, 1, 0, 1, OK), read("a", 1, 2, 3), write("b", 1, 0, 4, 5, Unknown),
		{Kind: Append, Key: "j", Value: "e1", Outcome: OK},
		{Kind: Encrypt, Key: "t", Value: "d1", Outcome: OK}, {Kind: Decrypt, Key: "t", Value: "d2", Want: "d1", Outcome: OK},
		{Kind: Issue, Key: "token-17", Outcome: OK, Expires: 5}, {Kind: Use, Key: "token-17", Outcome: Fail, Denied: true},
		{Kind: Revoke, Key: "lease-4", Outcome: OK},
	}
	if err := Save(path, want); err != nil {
		t.Fatal(err)
	}
	got, err := Load(path)
	if err != nil {
		t.Fatal(err)
	}
	if len(got) != len(want) {
		t.Fatalf("loaded %d operations, want %d", len(got), len(want))
	}
	for i := range want {
		if got[i] != want[i] {
			t.Errorf("operation %d: loaded %+v, want %+v", i, got[i], want[i])
		}
	}
	entries, err := os.ReadDir(filepath.Dir(path))
	if err != nil || len(entries) != 1 {
		t.Errorf("saving left %d files behind (%v), want the history alone", len(entries), err)
	}
	state := Final{Rate: 100, Registers: map[string]State{"k": {2, "b"}}, Journals: map[string][]string{"j": {"e1"}}}
	if err := SaveFinal(path, state); err != nil {
		t.Fatal(err)
	}
	if got, err := LoadFinal(path); err != nil || !reflect.DeepEqual(got, state) {
		t.Errorf("loaded the final state %+v (%v), want %+v", got, err, state)
	}
	if err := Save(filepath.Join(path, "below-a-file"), want); err == nil {
		t.Error("saving below a file succeeded")
	}
}

func TestLoadRefusesBrokenHistories(t *testing.T) {
	for name, text := range map[string]string{
		"cut short":                `{"kind":"read","key":"k","outcome":"ok"}` + "\n" + `{"kind":"wri`,
		"no outcome":               `{"kind":"read","key":"k"}`,
		"unknown kind":             `{"kind":"delete","key":"k","outcome":"ok"}`,
		"no key":                   `{"kind":"read","outcome":"ok"}`,
		"back in time":             `{"kind":"read","key":"k","outcome":"ok","call":5,"return":4}`,
		"no value":                 `{"kind":"write","key":"k","outcome":"ok"}`,
		"no entry":                 `{"kind":"append","key":"j","outcome":"ok"}`,
		"no digest":                `{"kind":"encrypt","key":"t","outcome":"ok"}`,
		"nothing wanted":           `{"kind":"decrypt","key":"t","outcome":"ok","value":"d"}`,
		"nothing came out":         `{"kind":"decrypt","key":"t","outcome":"ok","want":"d"}`,
		"no expiry":                `{"kind":"issue","key":"token-1","outcome":"ok","call":5,"return":6}`,
		"expiry of nothing":        `{"kind":"revoke","key":"token-1","outcome":"ok","expires":6}`,
		"denied write":             `{"kind":"write","key":"k","value":"v","outcome":"fail","denied":true}`,
		"denied and good":          `{"kind":"use","key":"token-1","outcome":"ok","denied":true}`,
		"a token for its own name": `{"kind":"use","key":"hvs.CAESIJ","outcome":"ok"}`,
		"a lease for its own name": `{"kind":"use","key":"database/creds/app/x1","outcome":"ok"}`,
	} {
		path := filepath.Join(t.TempDir(), "history.ndjson")
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		if _, err := Load(path); err == nil || !strings.Contains(err.Error(), "line") {
			t.Errorf("%s: Load says %v, want an error that names the line", name, err)
		} else if strings.Contains(err.Error(), "CAESIJ") {
			t.Errorf("%s: the error quotes the token: %v", name, err)
		}
	}
}

func TestLost(t *testing.T) {
	ops := []Op{
		write("a", 0, 1, 0, 1, OK),
		write("b", 1, 2, 2, 3, OK),
		write("c", 2, 0, 4, 5, Unknown),
		write("d", 2, 0, 6, 7, Fail),
	}
	for name, test := range map[string]struct {
		ops   []Op
		final map[string]State
		want  string // part of the only loss; empty for none
	}{
		"nothing lost":              {ops, map[string]State{"k": {2, "b"}}, ""},
		"the doubtful write counts": {ops, map[string]State{"k": {3, "c"}}, ""},
		"key gone":                  {ops, map[string]State{}, "could not be read"},
		"rolled back":               {ops, map[string]State{"k": {1, "a"}}, "at version 1"},
		"other value":               {ops, map[string]State{"k": {2, "x"}}, `holds "x"`},
		"a failed write took place": {ops, map[string]State{"k": {3, "d"}}, "no client can have written"},
		"a stranger wrote":          {ops, map[string]State{"k": {9, "z"}}, "no client can have written"},
		"acknowledged twice": {append(ops[:2:2], write("e", 1, 2, 3, 4, OK)),
			map[string]State{"k": {2, "b"}}, "acknowledged twice"},
		"no version":       {[]Op{write("a", 0, 0, 0, 1, OK)}, map[string]State{"k": {1, "a"}}, "without a version"},
		"nothing promised": {ops[2:], map[string]State{}, ""},
	} {
		losses := Lost(test.ops, Final{Registers: test.final})
		switch {
		case test.want == "" && len(losses) != 0:
			t.Errorf("%s: found %v, want nothing", name, losses)
		case test.want != "" && (len(losses) != 1 || !strings.Contains(losses[0].String(), test.want)):
			t.Errorf("%s: found %v, want one loss with %q", name, losses, test.want)
		}
	}
}

func TestLostIsOrdered(t *testing.T) {
	var ops []Op
	for _, key := range []string{"c", "a", "b"} {
		op := write("v", 0, 1, 0, 1, OK)
		op.Key = key
		ops = append(ops, op)
	}
	losses := Lost(ops, Final{})
	if len(losses) != 3 || losses[0].Key != "a" || losses[2].Key != "c" {
		t.Errorf("losses are %v, want a, b, c", losses)
	}
}

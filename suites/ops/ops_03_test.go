package ops

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/vaultproof/vaultproof/pkg/fault"
)

var noon = time.Date(2026, 1, 2, 12, 0, 0, 0, time.UTC)

// restartLog is a sidecar's, whose Vault is unsealed 30 s after its start at
// the given minute past noon.
func restartLog(minute int) string {
	var b strings.Builder
	at := noon.Add(time.Duration(minute) * time.Minute)
	for _, line := range []struct {
		second  int
		message string
	}{{0, "bootstrap sidecar started"}, {1, "state connecting"}, {20, "state keys-stored"}, {30, "vault unsealed"}, {31, "state serving"}} {
		fmt.Fprintf(&b, "%s {\"level\":\"INFO\",\"msg\":%q}\n", at.Add(time.Duration(line.second)*time.Second).Format(time.RFC3339Nano), line.message)
	}
	return b.String()
}

func readTimes(t *testing.T, pod, log string) closedTimes {
	t.Helper()
	c := closedTimes{pod: pod}
	if err := c.read(strings.NewReader(log)); err != nil {
		t.Fatal(err)
	}
	return c
}

func TestClosedTimesAreReadFromALog(t *testing.T) {
	c := readTimes(t, "vault-0", restartLog(0)+"garbage\n2026-01-02T12:30:00Z not json\n"+
		`2026-01-02T12:40:00.5Z {"msg":"state keys-stored"}`)
	if !c.from.Equal(noon) || len(c.spans) != 2 || !c.spans[0].to.Equal(noon.Add(30*time.Second)) || !c.spans[1].to.IsZero() {
		t.Errorf("read %+v", c)
	}
	if c := readTimes(t, "vault-0", "garbage\n"); !c.from.IsZero() || len(c.spans) != 0 {
		t.Errorf("out of garbage: %+v", c)
	}
	// A Vault that is held closed needs no shares.
	c = readTimes(t, "vault-0", `2026-01-02T12:00:00Z {"msg":"state keys-stored"}`+"\n"+`2026-01-02T12:00:01Z {"msg":"state held"}`)
	if len(c.spans) != 1 || c.spans[0].to.IsZero() {
		t.Errorf("while it is held: %+v", c)
	}
	// A sidecar that was restarted beside an open Vault.
	c = readTimes(t, "vault-0", `2026-01-02T12:00:00Z {"msg":"bootstrap sidecar started"}`+"\n"+`2026-01-02T12:00:01Z {"msg":"state unsealed"}`)
	if len(c.spans) != 1 || c.spans[0].to.IsZero() {
		t.Errorf("beside an open Vault: %+v", c)
	}
}

func TestJoin(t *testing.T) {
	asked := noon.Add(50 * time.Minute)
	read := func(at time.Time, secret, who, code string) fault.CustodyCall {
		return fault.CustodyCall{At: at, Method: access, Secret: secret, Principal: who, Code: code}
	}
	const share, sa, runner = "vault-unseal-share-1", "vault/vault", "vaultproof-system/vaultproof-runner"
	own := read(asked.Add(time.Millisecond), "vault-unseal-share-0", runner, "OK")
	// vault-1 started at 12:10, vault-0 at 12:00: what came before 12:10 may be
	// a pod's that is gone.
	pods := []closedTimes{readTimes(t, "vault-0", restartLog(0)), readTimes(t, "vault-1", restartLog(10))}
	at := func(minute, second int) time.Time {
		return noon.Add(time.Duration(minute)*time.Minute + time.Duration(second)*time.Second)
	}
	for name, c := range map[string]struct {
		calls []fault.CustodyCall
		want  string
	}{
		"an unseal":                     {[]fault.CustodyCall{read(at(10, 20), share, sa, "OK"), own}, ""},
		"fetched ahead":                 {[]fault.CustodyCall{read(at(10, 2), share, sa, "OK"), own}, ""},
		"by the long name":              {[]fault.CustodyCall{read(at(10, 20), share, "system:serviceaccount:vault:vault", "OK"), own}, ""},
		"of a pod that is gone":         {[]fault.CustodyCall{read(at(5, 0), share, sa, "OK"), own}, ""},
		"refused":                       {[]fault.CustodyCall{read(at(30, 0), share, "default/default", "PermissionDenied"), own}, ""},
		"of another secret":             {[]fault.CustodyCall{read(at(30, 0), "vault-provisioner-token", sa, "OK"), own}, ""},
		"beside any unseal":             {[]fault.CustodyCall{read(at(30, 0), share, sa, "OK"), own}, "a read of vault-unseal-share-1 by vault/vault at 2026-01-02T12:30:00Z, when no Vault pod was closed"},
		"soon after an unseal":          {[]fault.CustodyCall{read(at(10, 40), share, sa, "OK"), own}, "when no Vault pod was closed"},
		"by a stranger":                 {[]fault.CustodyCall{read(at(10, 20), share, "default/default", "OK"), own}, `by "default/default" at`},
		"by a stranger, long ago":       {[]fault.CustodyCall{read(at(1, 0), share, "vault/default", "OK"), own}, `by "vault/default" at`},
		"by nobody":                     {[]fault.CustodyCall{read(at(10, 20), share, "", "OK"), own}, `by "" at`},
		"the runner's read is missing":  {[]fault.CustodyCall{read(at(10, 20), share, sa, "OK")}, "the runner read vault-unseal-share-0 at 2026-01-02T12:50:00Z, and custody's access log of 1 calls does not have it"},
		"an old read of the runner's":   {[]fault.CustodyCall{read(at(20, 0), share, runner, "OK")}, "does not have it"},
		"nothing is logged":             {nil, "of 0 calls does not have it"},
		"the runner's read was refused": {[]fault.CustodyCall{read(asked, share, runner, "Unavailable")}, "does not have it"},
	} {
		j := &join{prefix: "vault", vault: sa, runner: runner, asked: asked, calls: c.calls, pods: pods}
		_, err := j.judge()
		if (c.want == "") != (err == nil) || err != nil && !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: error %v, want %q", name, err, c.want)
		}
	}
	j := &join{prefix: "vault", vault: sa, runner: runner, asked: asked, pods: pods,
		calls: []fault.CustodyCall{read(at(10, 20), share, sa, "OK"), read(at(12, 0), share, sa, "Unavailable"), own}}
	if seen, err := j.judge(); err != nil || seen != (joined{reads: 2, joined: 1, refused: 1}) {
		t.Errorf("counted %+v, error %v", seen, err)
	}
}

func TestAVaultThatIsStillClosedExplainsReads(t *testing.T) {
	c := readTimes(t, "vault-0", `2026-01-02T12:00:00Z {"msg":"state blocked"}`)
	j := &join{pods: []closedTimes{c}}
	if !j.unsealing(noon.Add(time.Hour)) || j.unsealing(noon.Add(-time.Minute)) {
		t.Error("a blocked sidecar reads shares from then on, and not before")
	}
}

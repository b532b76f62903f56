package bootstrap

import (
	"context"
	"errors"
	"strings"
	"testing"
	"testing/synctest"

	"github.com/vaultproof/vaultproof/pkg/conformance"
	"github.com/vaultproof/vaultproof/pkg/fault"
)

func TestProvedBeforeKeys(t *testing.T) {
	call := func(method, secret, code string) fault.CustodyCall {
		return fault.CustodyCall{Method: method, Secret: secret, Code: code}
	}
	const p = "vault-twin-r1"
	prove := []fault.CustodyCall{
		call("CreateSecret", p+"-custody-proof", "OK"), call(addCall, p+"-custody-proof", "OK"), call(accessCall, p+"-custody-proof", "OK"),
	}
	share := call(addCall, p+"-unseal-share-0", "OK")
	for name, c := range map[string]struct {
		calls []fault.CustodyCall
		want  string
	}{
		"proved":              {append(prove[:3:3], share), ""},
		"proved at last":      {append([]fault.CustodyCall{call(addCall, p+"-custody-proof", "PermissionDenied")}, append(prove[:3:3], share)...), ""},
		"not proved":          {[]fault.CustodyCall{share}, "not proved before"},
		"written only":        {append(prove[:2:2], share), "not proved before"},
		"not read back":       {append(prove[:2:2], call(accessCall, p+"-custody-proof", "NotFound"), share), "not proved before"},
		"read before written": {[]fault.CustodyCall{prove[2], prove[1], share}, "not proved before"},
		"proved too late":     {append([]fault.CustodyCall{share}, prove...), "not proved before"},
		"by another Vault":    {[]fault.CustodyCall{call(addCall, "vault-custody-proof", "OK"), call(accessCall, "vault-custody-proof", "OK"), share}, "not proved before"},
		"the root token":      {[]fault.CustodyCall{call(addCall, p+"-root-token", "OK")}, "not proved before"},
		"a share that failed": {[]fault.CustodyCall{call(addCall, p+"-unseal-share-0", "Unavailable"), prove[0], prove[1], prove[2], share}, ""},
		"no key at all":       {prove, "no share"},
		"nothing":             {nil, "no share"},
	} {
		err := provedBeforeKeys(c.calls, p)
		if (c.want == "") != (err == nil) || err != nil && !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %v, want %q", name, err, c.want)
		}
	}
}

func TestWatchInit(t *testing.T) {
	n := 0
	for name, c := range map[string]struct {
		ask  func(context.Context) (bool, error)
		want string
	}{
		"stays empty":        {func(context.Context) (bool, error) { return false, nil }, ""},
		"initialised":        {func(context.Context) (bool, error) { return true, nil }, "is initialised although"},
		"initialised at end": {func(context.Context) (bool, error) { n++; return n > 30, nil }, "is initialised although"},
		"silent":             {func(context.Context) (bool, error) { return false, errors.New("refused") }, "answered sys/init only 0 times"},
	} {
		synctest.Test(t, func(t *testing.T) {
			err := watchInit(t.Context(), &conformance.Case{}, "twin-0", c.ask)
			if (c.want == "") != (err == nil) || err != nil && !strings.Contains(err.Error(), c.want) {
				t.Errorf("%s: %v, want %q", name, err, c.want)
			}
		})
	}
}

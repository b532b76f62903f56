package tenancy

import (
	"errors"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/hashicorp/vault/api"

	"github.com/vaultproof/vaultproof/pkg/tenancy"
)

// answered is an attempt that Vault answered with a status other than 200.
func answered(status int) outcome {
	return outcome{attempt: attempt{what: "somebody", mount: "m", role: "r"}, err: &api.ResponseError{StatusCode: status}}
}

// letIn is an attempt that got a token with these policies.
func letIn(policies ...string) outcome {
	return outcome{attempt: attempt{what: "somebody", mount: "m", role: "r"}, auth: &api.SecretAuth{ClientToken: "t", Policies: policies, LeaseDuration: 60}}
}

func TestABrokenRoleIsSeen(t *testing.T) {
	a := tenancy.NewTenant("a")
	good := boundRole{Accounts: []string{a.ServiceAccount}, Namespaces: []string{a.Namespace}, Audience: a.Audience}
	if err := good.bound(a); err != nil {
		t.Errorf("the right role: %v", err)
	}
	for want, spoil := range map[string]func(*boundRole){
		"bound_service_account_names [*]":               func(b *boundRole) { b.Accounts = []string{"*"} },
		"bound_service_account_namespaces [tenant-a x]": func(b *boundRole) { b.Namespaces = append(b.Namespaces, "x") },
		"every namespace with the labels":               func(b *boundRole) { b.Selector = "{}" },
		`audience ""`:                                   func(b *boundRole) { b.Audience = "" },
	} {
		broken := boundRole{Accounts: []string{a.ServiceAccount}, Namespaces: []string{a.Namespace}, Audience: a.Audience}
		spoil(&broken)
		if err := broken.bound(a); err == nil || !strings.Contains(err.Error(), want) || !strings.Contains(err.Error(), "auth/tenant-a/role/tenant-a-app") {
			t.Errorf("%v, want %q of auth/tenant-a/role/tenant-a-app", err, want)
		}
	}
}

func TestARoleIsReadAsVaultTellsIt(t *testing.T) {
	got, err := roleIn(map[string]any{
		"bound_service_account_names": []any{"app"}, "bound_service_account_namespaces": []any{"ns"},
		"bound_service_account_namespace_selector": "", "audience": "x", "token_ttl": 3600,
	})
	if err != nil || len(got.Accounts) != 1 || got.Accounts[0] != "app" || got.Namespaces[0] != "ns" || got.Audience != "x" {
		t.Errorf("read %+v (%v)", got, err)
	}
}

func TestALoginThatShouldFailAndDoesNotIsSeen(t *testing.T) {
	if err := refused([]outcome{answered(http.StatusForbidden)}); err != nil {
		t.Errorf("a login that is refused: %v", err)
	}
	err := refused([]outcome{answered(http.StatusForbidden), letIn("tenant-a-app"), answered(http.StatusInternalServerError)})
	if err == nil || !strings.Contains(err.Error(), "a token with the policies [tenant-a-app]") || !strings.Contains(err.Error(), "status 500") {
		t.Errorf("%v, want both that are not refused", err)
	}
	mute := outcome{attempt: attempt{what: "somebody"}, err: errors.New("no route")}
	if silent([]outcome{answered(http.StatusForbidden)}) != nil || silent([]outcome{mute}) == nil {
		t.Error("an answer is taken for silence, or silence for an answer")
	}
}

func TestWhoIsLetInGetsOnePolicyForAWhile(t *testing.T) {
	if err := admitted(letIn("p"), "p"); err != nil {
		t.Errorf("the right token: %v", err)
	}
	endless := letIn("p")
	endless.auth.LeaseDuration = 0
	for name, o := range map[string]outcome{"more": letIn("default", "p"), "another": letIn("q"), "endless": endless, "refused": answered(http.StatusForbidden), "nothing": {}} {
		if admitted(o, "p") == nil {
			t.Errorf("%s passes for the right token", name)
		}
	}
}

func TestATokenThatOutlivesItsEndIsSeen(t *testing.T) {
	ends := time.Now()
	at := func(o outcome, after time.Duration) outcome { o.began = ends.Add(after); return o }
	yes, no := letIn("p"), answered(http.StatusForbidden)
	for name, c := range map[string]struct {
		o    outcome
		over bool
		bad  bool
	}{
		"good before":      {o: at(yes, -time.Minute)},
		"good in leeway":   {o: at(yes, leeway-time.Second)},
		"good for ever":    {o: at(yes, leeway+time.Second), bad: true},
		"refused in time":  {o: at(no, time.Second), over: true},
		"refused too soon": {o: at(no, -2*time.Minute), bad: true},
		"a clock ahead":    {o: at(no, -time.Second)},
		"no answer":        {o: at(answered(http.StatusBadGateway), time.Second)},
	} {
		x := expiry{ends: ends}
		if over, err := x.take(c.o); over != c.over || (err != nil) != c.bad {
			t.Errorf("%s: over %v (%v), want %v", name, over, err, c.over)
		}
	}
}

func TestForgedTokensKeepTheClaims(t *testing.T) {
	first, err := signedElsewhere(sample(t))
	if err != nil {
		t.Fatal(err)
	}
	claims, key, err := claimsOf(first)
	if err != nil || claims["sub"] != "system:serviceaccount:ns:app" || key != "k1" {
		t.Errorf("claims %v under key %q (%v)", claims, key, err)
	}
	bare, err := unsigned(first)
	if parts := strings.Split(bare, "."); err != nil || len(parts) != 3 || parts[2] != "" {
		t.Errorf("%q is no token without a signature (%v)", bare, err)
	}
	if _, err := signedElsewhere("x.y.z"); err == nil {
		t.Error("what is no token is forged")
	}
}

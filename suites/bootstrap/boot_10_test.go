package bootstrap

import (
	"testing"

	"github.com/vaultproof/vaultproof/pkg/ceremony"
	"github.com/vaultproof/vaultproof/pkg/custody"
)

func TestSwept(t *testing.T) {
	for name, c := range map[string]struct {
		spoil func(*brokenGlass)
		want  string
	}{
		"as it should be":   {func(*brokenGlass) {}, ""},
		"a kept root":       {func(c *brokenGlass) { c.before, c.after = 1, 1 }, ""},
		"swept up by it":    {func(c *brokenGlass) { c.before = 1 }, ""},
		"no root token":     {func(c *brokenGlass) { c.policies = []string{"default"} }, "has the policies [default], want root"},
		"powerless":         {func(c *brokenGlass) { c.read = false }, "cannot list auth/token/accessors"},
		"still under way":   {func(c *brokenGlass) { c.open = true }, "started=true"},
		"not revoked":       {func(c *brokenGlass) { c.alive = true }, "answers 200 to the token of the ceremony after it was revoked, want 403"},
		"left in custody":   {func(c *brokenGlass) { c.after = 1 }, "1 readable versions of the root token after the ceremony and had 0"},
		"nothing was tried": {func(c *brokenGlass) { *c = brokenGlass{} }, "want root"},
	} {
		seen := brokenGlass{policies: []string{"root"}, read: true}
		c.spoil(&seen)
		wants(t, name, swept(seen), c.want)
	}
	wants(t, "no token at all", glassHolds(ceremony.ErrDenied), "Vault refuses to begin making a root token; want a root token")
	versions := []custody.Version{{State: custody.Enabled}, {State: custody.Disabled}, {State: custody.Destroyed}}
	if n := enabled(versions); n != 1 {
		t.Errorf("%d enabled versions, want 1", n)
	}
}

func TestUseFailsWithItsReason(t *testing.T) {
	var c brokenGlass
	wants(t, "a token that does not work", c.use(t.Context(), vaultAnswering(t, 403, `{"errors":["permission denied"]}`)), "looking up the root token of the ceremony")
	if c.read || c.policies != nil {
		t.Errorf("out of nothing: %+v", c)
	}
}

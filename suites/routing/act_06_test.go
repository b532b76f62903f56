package routing

import (
	"strings"
	"testing"
	"time"

	"github.com/vaultproof/vaultproof/suites/trial"
)

func TestCleaned(t *testing.T) {
	for name, c := range map[string]struct {
		res  trial.Result
		want string
	}{
		"in time": {crash(endpoints("vault-1", 4.9)), ""},
		"elected again": {crash(endpoints("vault-1", 4), leader("vault-0", "standby", 40), leader("vault-0", "active", 45),
			endpoints("vault-0", 46)), ""},
		"as Kubernetes alone does it":  {crash(endpoints("vault-0,vault-1", 4), endpoints("vault-1", 48)), "list pod vault-0 as ready 5s after ACT-05#1 (crash-loop), until 12:00:48"},
		"back with its stale label on": {crash(endpoints("vault-1", 4), endpoints("vault-0,vault-1", 50)), "as ready 50s after"},
	} {
		err := cleaned(c.res, "vault-active", 5*time.Second)
		if (c.want == "") != (err == nil) || err != nil && !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %v, want %q", name, err, c.want)
		}
	}
	if err := cleaned(crash(endpoints("vault-1", 1)), "vault-active", 0); err == nil {
		t.Error("without a budget everything passes")
	}
}

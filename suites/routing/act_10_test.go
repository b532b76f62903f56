package routing

import (
	"strings"
	"testing"
	"time"

	"github.com/vaultproof/vaultproof/pkg/probe"
	"github.com/vaultproof/vaultproof/pkg/timeline"
	"github.com/vaultproof/vaultproof/suites/trial"
)

func TestRepaired(t *testing.T) {
	tampered := func(events ...timeline.Event) trial.Result {
		return trial.Result{Target: "vault-1", At: sec(0), Undone: sec(7), End: sec(20), Events: append([]timeline.Event{label("vault-1", "false", -9)}, events...)}
	}
	for name, c := range map[string]struct {
		res  trial.Result
		want string
	}{
		"in time":          {tampered(label("vault-1", "true", 0.1), label("vault-1", "false", 2)), ""},
		"too quick to see": {tampered(), ""},
		"never":            {tampered(label("vault-1", "true", 0.1)), "standby vault-1 bears vault-active=true still at 12:00:05.000, 5s after"},
		"by us, at last":   {tampered(label("vault-1", "true", 0.1), label("vault-1", "false", 7.1)), "bears vault-active=true still"},
		"set again":        {tampered(label("vault-1", "true", 0.1), label("vault-1", "false", 1), label("vault-1", "true", 6)), "still at 12:00:06.000"},
	} {
		err := repaired(c.res, 5*time.Second)
		if (c.want == "") != (err == nil) || err != nil && !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %v, want %q", name, err, c.want)
		}
	}
}

func TestUnharmed(t *testing.T) {
	if err := unharmed("vault-1", probe.Availability{Total: 300, OK: 300}); err != nil {
		t.Error(err)
	}
	err := unharmed("vault-1", probe.Availability{Total: 300, OK: 298, Errors: map[string]int{"HTTP 500": 2}})
	if err == nil || !strings.Contains(err.Error(), "2 of 300 operations failed while standby vault-1 was labelled active, one with: HTTP 500") {
		t.Errorf("failures: %v", err)
	}
}

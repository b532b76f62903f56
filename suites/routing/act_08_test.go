package routing

import (
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/vaultproof/vaultproof/pkg/report"
	"github.com/vaultproof/vaultproof/suites/trial"
)

// outage is a trial with the API server back 45 s after the fault.
func outage(elected, labelled *float64) trial.Result {
	res := crash()
	res.End = sec(120)
	res.Phases = report.Phases{Elected: elected, Labelled: labelled}
	return res
}

func TestActivated(t *testing.T) {
	back := sec(45)
	for name, c := range map[string]struct {
		elected *float64
		want    string
	}{
		"in time":           {report.MS(2500), ""},
		"never":             {nil, "no pod became active after"},
		"too late":          {report.MS(9000), "a pod became active 9s after"},
		"once the API came": {report.MS(46000), "for 46s after ACT-05#1 (crash-loop of vault-0), until the API server was back"},
	} {
		err := activated(outage(c.elected, nil), back, 5*time.Second)
		if (c.want == "") != (err == nil) || err != nil && !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %v, want %q", name, err, c.want)
		}
	}
	if err := activated(outage(report.MS(1), nil), back, 0); err == nil {
		t.Error("without a budget everything passes")
	}
}

func TestConverged(t *testing.T) {
	back := sec(45)
	for name, c := range map[string]struct {
		labelled *float64
		want     string
	}{
		"in time":    {report.MS(60000), ""},
		"never":      {nil, "was never on the new active pod alone"},
		"too late":   {report.MS(85000), "40s after the API server was back"},
		"at the end": {report.MS(80000), ""},
	} {
		err := converged(outage(nil, c.labelled), back)
		if (c.want == "") != (err == nil) || err != nil && !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %v, want %q", name, err, c.want)
		}
	}
}

func TestServed(t *testing.T) {
	if err := (&apiOut{}).served(crash()); err != nil {
		t.Error(err)
	}
	err := (&apiOut{refused: errors.New("Vault is sealed")}).served(crash(leader("vault-1", "active", 2)))
	if err == nil || !strings.Contains(err.Error(), "pod vault-1 took over") {
		t.Errorf("a refused write: %v", err)
	}
}

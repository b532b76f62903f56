package conformance

import (
	"strings"
	"testing"
	"time"
)

func TestWalkIsForNightlyRuns(t *testing.T) {
	checks := checksNamed("ACT-01", "RES-12", "RES-13")
	for profile, want := range map[string]string{"certify": "ACT-01 RES-12", "resilience": "ACT-01 RES-12 RES-13"} {
		got, err := demanded(profile, checks)
		if err != nil || strings.Join(got, " ") != want {
			t.Errorf("%s demands %v (%v), want %s", profile, got, err, want)
		}
	}
	if _, err := match([]string{"!["}, checks); err == nil {
		t.Error("a broken glob that leaves out was accepted")
	}
}

func TestWalkFlag(t *testing.T) {
	if o, err := flags(t, "-profile", "resilience"); err != nil || o.Walk != 10*time.Minute {
		t.Errorf("walk %s (%v), want 10m by default", o.Walk, err)
	}
	if o, err := flags(t, "-walk", "2h"); err != nil || o.Walk != 2*time.Hour {
		t.Errorf("walk %s (%v), want 2h", o.Walk, err)
	}
	for _, text := range []string{"ten", "30s", "-5m"} {
		if _, err := flags(t, "-walk="+text); err == nil || !strings.Contains(err.Error(), "-walk "+text) {
			t.Errorf("-walk %s: %v, want it refused", text, err)
		}
	}
}

package trial

import (
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/vaultproof/vaultproof/pkg/conformance"
)

func TestExcused(t *testing.T) {
	beyond := errors.New("9 s, budget 2.5 s")
	r := &conformance.Case{}
	calm := []Result{{ID: "RES-01#1", Late: 30 * time.Millisecond}, {ID: "RES-01#2"}}
	if err := excused(r, calm, beyond); err != beyond { //nolint:errorlint // the very error is wanted
		t.Errorf("on a machine with time the outage is %v, want %v", err, beyond)
	}
	starved := append(calm, Result{ID: "RES-01#3", Late: time.Second})
	if err := excused(r, starved, beyond); !errors.Is(err, beyond) || !strings.Contains(err.Error(), "RES-01#3") || err.Error() == beyond.Error() {
		t.Errorf("on a starved machine the outage is %v, want no judgement that names the trial", err)
	}
}

package resilience

import (
	"strings"
	"testing"

	"github.com/vaultproof/vaultproof/pkg/report"
)

// TestTookOver covers the judgement that RES-01 and RES-02 share beside the
// budget.
func TestTookOver(t *testing.T) {
	if err := tookOver(result{phases: report.Phases{Elected: report.MS(1200)}}); err != nil {
		t.Error(err)
	}
	err := tookOver(result{id: "RES-01#1", kind: "pod-delete", target: "vault-0", active: "vault-0"})
	if err == nil || !strings.Contains(err.Error(), "take over from vault-0") {
		t.Errorf("without an election: %v", err)
	}
}

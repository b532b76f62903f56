package routing

import (
	"strings"
	"testing"
	"time"
)

func TestGrew(t *testing.T) {
	if err := grew(2, 3, time.Second); err != nil {
		t.Error(err)
	}
	for name, after := range map[string]float64{"stands still": 2, "restarted": 0} {
		if err := grew(2, after, 15*time.Second); err == nil || !strings.Contains(err.Error(), "stayed at 2 for 15s") {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestTotal(t *testing.T) {
	const metrics = `# TYPE vaultproof_label_errors_total counter
vaultproof_label_errors_total{kind="forbidden"} 2
vaultproof_label_errors_total{kind="invalid"} 1
vaultproof_label_errors_total{kind="conflict"} 40
# TYPE vaultproof_label_repairs_total counter
vaultproof_label_repairs_total 9
`
	for name, c := range map[string]struct {
		text string
		want float64
	}{
		"refusals":    {metrics, 3},
		"not counted": {"vaultproof_label_repairs_total 9\n", 0},
		"untyped":     {"vaultproof_label_errors_total 4\n", 4},
	} {
		if got, err := total(strings.NewReader(c.text), labelErrors); err != nil || got != c.want {
			t.Errorf("%s: %g (%v), want %g", name, got, err, c.want)
		}
	}
	if _, err := total(strings.NewReader("<html>not found</html>\n"), labelErrors); err == nil {
		t.Error("a page of HTML is taken for metrics")
	}
}

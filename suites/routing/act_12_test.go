package routing

import (
	"strings"
	"testing"
	"time"

	"github.com/vaultproof/vaultproof/pkg/history"
	"github.com/vaultproof/vaultproof/pkg/report"
)

func TestSilence(t *testing.T) {
	off := report.Fault{ID: "ACT-06#1", Kind: "node-power-off", InjectedAt: sec(0), RecoveredAt: sec(60), Phases: report.Phases{Routed: report.MS(3000)}}
	hung := answer("", 0.5, 2.5, history.Unknown)
	for name, c := range map[string]struct {
		ops  []history.Op
		want string
	}{
		"in time":         {[]history.Op{hung, answer("", 3.1, 5.1, history.Fail), answer("vault-1", 5.2, 5.3, history.OK)}, ""},
		"after the fault": {[]history.Op{hung, answer("", 61, 63, history.Fail)}, ""},
		"conntrack":       {[]history.Op{hung, answer("", 20, 22, history.Unknown)}, "left 2 operations hanging on their connections, one still failed at 12:00:22.000 (), 19s after"},
		"one straggler":   {[]history.Op{hung, answer("vault-2", 9.9, 10, history.Fail)}, "7s after the Service had the new active pod alone"},
	} {
		s, ok := silenceOf(off, c.ops)
		if !ok {
			t.Fatalf("%s: no silence was seen", name)
		}
		err := s.short(3 * time.Second)
		if (c.want == "") != (err == nil) || err != nil && !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %v, want %q", name, err, c.want)
		}
	}
}

// Without a hung operation nothing was shown, and the check must not pass.
func TestSilenceNeedsAConnectionThatHung(t *testing.T) {
	off := report.Fault{Kind: "node-power-off", InjectedAt: sec(0), RecoveredAt: sec(60), Phases: report.Phases{Routed: report.MS(3000)}}
	kill := off
	kill.Kind = "process-kill"
	lost := off
	lost.Phases.Routed = nil
	hung := []history.Op{answer("", 0.5, 2.5, history.Unknown)}
	for name, c := range map[string]struct {
		fault report.Fault
		ops   []history.Op
	}{
		"only refused connections": {off, []history.Op{answer("", 0.5, 0.6, history.Fail)}},
		"another fault":            {kill, hung},
		"never routed":             {lost, hung},
	} {
		if s, ok := silenceOf(c.fault, c.ops); ok {
			t.Errorf("%s: %+v counts", name, s)
		}
	}
}

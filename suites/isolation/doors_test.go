package isolation

import (
	"strings"
	"testing"
)

// says fails the test unless err has all the words, or is nil if there are none.
func says(t *testing.T, name string, err error, words ...string) {
	t.Helper()
	if (err == nil) != (len(words) == 0) {
		t.Errorf("%s: %v, want an error with %q", name, err, words)
		return
	}
	for _, w := range words {
		if !strings.Contains(err.Error(), w) {
			t.Errorf("%s: %v, want it to say %q", name, err, w)
		}
	}
}

func seen(to, want string, isOpen bool) found {
	f := found{door: doorTo(to, "10.0.0.9", 8200, want), guest: "a stranger", report: report{Open: isOpen, Attempts: 3, Millis: 500}}
	if !isOpen {
		f.Error = "i/o timeout"
	}
	return f
}

func TestTrespass(t *testing.T) {
	says(t, "all shut", trespass([]found{seen("vault-0", shut, false), seen("a pod", open, true), seen("the internet", try, true)}, "policies"))
	says(t, "one is open", trespass([]found{seen("vault-0", shut, false), seen("vault-1", shut, true)}, "the NetworkPolicies are none"),
		"vault-1 (10.0.0.9:8200) opens to a stranger", "3 attempts in 500 ms", "the NetworkPolicies are none")
	says(t, "all are open", trespass([]found{seen("vault-0", shut, true), seen("vault-1", shut, true)}, ""), "vault-0", "vault-1")
}

func TestAlive(t *testing.T) {
	says(t, "controls come through", alive([]found{seen("vault-0", shut, false), seen("a pod", open, true)}))
	says(t, "a dead network", alive([]found{seen("vault-0", shut, false), seen("a pod", open, false)}), "a stranger does not reach a pod", "i/o timeout")
	says(t, "no control", alive([]found{seen("vault-0", shut, false), seen("the internet", try, true)}), "no guest was to reach anything")
	says(t, "nothing", alive(nil), "no guest")
}

func TestCount(t *testing.T) {
	all := []found{seen("a", shut, false), seen("b", shut, true), seen("c", open, true), seen("d", open, false), seen("e", try, false)}
	if count(all, shut) != 1 || count(all, open) != 1 {
		t.Errorf("%d shut and %d open, want 1 of each as wanted", count(all, shut), count(all, open))
	}
}

func TestParseReports(t *testing.T) {
	log := `{"time":"2026-01-01T00:00:00Z","level":"INFO","msg":"starting"}
{"doors":[{"address":"10.0.0.9:8200","want":"shut","open":false,"error":"i/o timeout","attempts":2,"ms":1200}]}
{"level":"INFO","msg":"done"}
`
	reports, err := parseReports(log)
	if err != nil || len(reports) != 1 || reports[0] != (report{"10.0.0.9:8200", "shut", false, "i/o timeout", 2, 1200}) {
		t.Errorf("read %+v (%v)", reports, err)
	}
	for name, broken := range map[string]string{"empty": "", "no doors": `{"doors":[]}`, "an older prober": "usage: prober COMMAND", "cut short": log[:100]} {
		_, err := parseReports(broken)
		says(t, name, err, "the prober did not say what it found")
	}
}

func TestMatch(t *testing.T) {
	doors := []door{doorTo("vault-0", "10.0.0.9", 8200, shut), doorTo("vault-1", "fd00::9", 8200, shut)}
	reports := []report{{Address: "[fd00::9]:8200", Want: shut, Open: true}, {Address: "10.0.0.9:8200", Want: shut}}
	all, err := match(doors, reports)
	if err != nil || len(all) != 2 || all[0].Open || !all[1].Open {
		t.Errorf("matched %+v (%v)", all, err)
	}
	_, err = match(doors, reports[:1])
	says(t, "one is missing", err, "said nothing of vault-0")
	reports[1].Want = open
	_, err = match(doors, reports)
	says(t, "another question", err, "said nothing of vault-0")
}

package bootstrap

import (
	"errors"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
)

// wants fails the test unless err says want; "" means no error.
func wants(t *testing.T, name string, err error, want string) {
	t.Helper()
	if (want == "") != (err == nil) || err != nil && !strings.Contains(err.Error(), want) {
		t.Errorf("%s: error %v, want %q", name, err, want)
	}
}

const sidecarLog = `2026-01-02T03:04:05.678Z {"time":"2026-01-02T03:04:05Z","level":"INFO","msg":"bootstrap sidecar started","pod":"vault-0"}
2026-01-02T03:04:06.678Z {"time":"2026-01-02T03:04:06Z","level":"INFO","msg":"state custody-proven","pod":"vault-0","reason":"empty-unclaimed"}
not json
2026-01-02T03:04:07.678Z {"time":"2026-01-02T03:04:07Z","level":"INFO","msg":"state init-claimed","pod":"vault-0","reason":"empty-claimed"}
2026-01-02T03:04:08.678Z {"time":"2026-01-02T03:04:08Z","level":"INFO","msg":"state serving","pod":"vault-0","reason":"open-active"}`

func TestInitTracesAreReadFromLogs(t *testing.T) {
	var seen initTraces
	if err := eachLine(strings.NewReader(sidecarLog), seen.sidecarLine); err != nil {
		t.Fatal(err)
	}
	if seen.transitions != 3 || strings.Join(seen.towards, " ") != "custody-proven init-claimed" {
		t.Errorf("read %+v", seen)
	}
	long := strings.Repeat("x", 1<<20) + "\n"
	log := long + "2026-01-02T03:04:05Z [INFO]  core: security barrier not initialized\n" +
		`2026-01-02T03:04:06Z {"@message":"security barrier initialized","shares":5}`
	if err := eachLine(strings.NewReader(log), seen.vaultLine); err != nil || seen.inits != 1 {
		t.Errorf("%d inits, error %v", seen.inits, err)
	}
}

func TestOnlyFirstInitialises(t *testing.T) {
	first := initTraces{pod: "vault-0", transitions: 9, towards: initStates, inits: 1}
	for name, c := range map[string]struct {
		second initTraces
		want   string
	}{
		"as it should be":     {initTraces{pod: "vault-1", transitions: 3}, ""},
		"claimed":             {initTraces{pod: "vault-1", transitions: 3, towards: []string{"init-claimed"}}, "pod vault-1 logged the states init-claimed"},
		"tried custody":       {initTraces{pod: "vault-2", transitions: 3, towards: []string{"custody-proven"}}, "pod vault-2 logged"},
		"Vault says so":       {initTraces{pod: "vault-1", transitions: 3, inits: 1}, "Vault in pod vault-1"},
		"said, in no state":   {initTraces{pod: "vault-1", inits: 1}, "Vault in pod vault-1"},
		"an unreadable log":   {initTraces{pod: "vault-1"}, "vault-1 names no state"},
		"not a StatefulSet's": {initTraces{pod: "vault-x7k2q", transitions: 1}, "no ordinal"},
	} {
		wants(t, name, onlyFirstInitialises([]initTraces{first, c.second}), c.want)
	}
	wants(t, "no pod", onlyFirstInitialises(nil), "no Vault pod")
	if err := onlyFirstInitialises([]initTraces{{pod: "vault-0"}}); !errors.Is(err, errBlind) {
		t.Errorf("a log without transitions: %v, want one that says so", err)
	}
}

func TestClaimedByFirst(t *testing.T) {
	for raw, want := range map[string]string{
		`{"holder":"vault-0","phase":"stored","at":"2026-01-02T03:04:05Z"}`:  "",
		`{"holder":"vault-1","phase":"stored","at":"2026-01-02T03:04:05Z"}`:  "vault-1 initialised this Vault, want vault-0",
		`{"holder":"vault-0","phase":"claimed","at":"2026-01-02T03:04:05Z"}`: `in phase "claimed"`,
		`{"phase":"stored"}`: "no claim that names its holder",
		`hvs.not-a-claim`:    "no claim that names its holder",
	} {
		err := claimedByFirst("vault-init-claim", []byte(raw), "vault-0")
		wants(t, raw, err, want)
		if err != nil && strings.Contains(err.Error(), "hvs.") {
			t.Errorf("the message repeats the content: %v", err)
		}
	}
}

func TestLivesAfterARestart(t *testing.T) {
	pod := &corev1.Pod{Status: corev1.PodStatus{ContainerStatuses: []corev1.ContainerStatus{{Name: "vault", RestartCount: 1}, {Name: "bootstrap"}}}}
	if got := lives(pod, "vault"); len(got) != 2 {
		t.Errorf("logs of a restarted container: %v, want the previous one too", got)
	}
	if got := lives(pod, "bootstrap"); len(got) != 1 || got[0] {
		t.Errorf("logs of a container that was not restarted: %v", got)
	}
}

package bootstrap

import (
	"strings"
	"testing"
)

func TestToldNothing(t *testing.T) {
	for name, c := range map[string]struct {
		heard rogueHeard
		want  string
	}{
		"verifies":         {rogueHeard{Handshakes: 9}, ""},
		"skips it":         {rogueHeard{Handshakes: 9, Completed: 9, ApplicationBytes: 812}, "sent 812 bytes"},
		"in clear":         {rogueHeard{ApplicationBytes: 60}, "sent 60 bytes"},
		"accepts, is mute": {rogueHeard{Handshakes: 9, Completed: 1}, "accepted the certificate"},
		"never tried":      {rogueHeard{}, "not shown"},
	} {
		err := toldNothing(c.heard)
		if (c.want == "") != (err == nil) || err != nil && !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %v, want %q", name, err, c.want)
		}
	}
}

func TestLastHeard(t *testing.T) {
	const log = `{"time":"2026-05-01T12:00:00Z","level":"INFO","msg":"listening as a rogue","address":"127.0.0.1:8200"}
{"connections":0,"handshakes":0,"completed":0,"applicationBytes":0}
{"connections":2,"handshakes":3,"completed":1,"applicationBytes":14}
not JSON
`
	got, err := lastHeard(log)
	if want := (rogueHeard{Handshakes: 3, Completed: 1, ApplicationBytes: 14}); err != nil || got != want {
		t.Errorf("%+v (%v), want %+v", got, err, want)
	}
	if _, err := lastHeard(strings.SplitAfter(log, "\n")[0]); err == nil {
		t.Error("a log without counts counts as silence")
	}
}

func TestReplaceVault(t *testing.T) {
	tw, set, _ := twinOfTheStack(t)
	replaceVault(&tw.pod.Spec, "vault")
	for i, c := range tw.pod.Spec.Containers {
		if c.Name != "vault" {
			if c.Image != set.Spec.Template.Spec.Containers[i].Image {
				t.Errorf("container %s is %s", c.Name, c.Image)
			}
			continue
		}
		if c.LivenessProbe != nil || c.Lifecycle != nil || len(c.VolumeMounts) > 0 || len(c.Env) > 0 {
			t.Error("the rogue has what only Vault needs")
		}
		if s := c.SecurityContext; s == nil || s.ReadOnlyRootFilesystem == nil || !*s.ReadOnlyRootFilesystem || len(s.Capabilities.Drop) == 0 {
			t.Error("the rogue is less restricted than Vault")
		}
	}
}

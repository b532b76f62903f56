package custody

import (
	"bytes"
	"encoding/json"
	"fmt"
	"log/slog"
	"strings"
	"testing"
)

func TestPayloadIsNeverPrinted(t *testing.T) {
	const secret = "hvs.verySecretShare"
	s := Secret{Payload: Payload(secret), Version: "3"}
	var log bytes.Buffer
	slog.New(slog.NewJSONHandler(&log, nil)).Info("read", "secret", s, "payload", s.Payload, "pointer", &s)
	slog.New(slog.NewTextHandler(&log, nil)).Info("read", "secret", s, "payload", s.Payload, "pointer", &s)
	encoded, err := json.Marshal(map[string]any{"secret": s, "payload": s.Payload})
	if err != nil {
		t.Fatal(err)
	}
	out := log.String() + string(encoded)
	for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%q", "%x", "%X", "%d"} {
		out += fmt.Sprintf(verb, s) + fmt.Sprintf(verb, &s) + fmt.Sprintf(verb, s.Payload) + fmt.Sprintf(verb, []Secret{s})
	}
	out += fmt.Sprint(s, s.Payload) + fmt.Errorf("x: %v", s).Error()
	for _, form := range []string{secret, fmt.Sprintf("%x", secret), fmt.Sprintf("%X", secret), fmt.Sprint([]byte(secret)), "aHZzLnZlcnlTZWNyZXRTaGFyZQ"} {
		if strings.Contains(out, form) {
			t.Errorf("the payload is printed as %q in %s", form, out)
		}
	}
	if !strings.Contains(out, redacted) || !strings.Contains(out, `"version":"3"`) {
		t.Errorf("the rest of the secret is not told: %s", out)
	}
	if string(s.Payload) != secret {
		t.Error("the payload cannot be used")
	}
	s.Payload.Wipe()
	if !bytes.Equal(s.Payload, make([]byte, len(secret))) {
		t.Error("Wipe leaves something")
	}
}

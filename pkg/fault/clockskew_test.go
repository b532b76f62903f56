package fault

import (
	"context"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

func TestMovedBy(t *testing.T) {
	for name, c := range map[string]struct {
		by, before, now time.Duration
		want            bool
		says            string
	}{
		"forward":                {time.Minute, -time.Second, 59 * time.Second, true, "moved by 1m0s"},
		"back":                   {-time.Minute, 0, -61 * time.Second, true, "moved back by 1m1s"},
		"not at all":             {time.Minute, 0, time.Second, false, "moved by 1s"},
		"the wrong way":          {time.Minute, 0, -time.Minute, false, "moved back by 1m0s"},
		"wrong from the start":   {time.Minute, time.Minute, time.Minute, false, "moved by 0s"},
		"only a part of the way": {time.Minute, 0, 50 * time.Second, false, "moved by 50s"},
	} {
		evidence, got := movedBy(c.by, c.before, c.now)
		if got != c.want || !strings.Contains(evidence, c.says) {
			t.Errorf("%s: witness %v (%s), want %v with %q", name, got, evidence, c.want, c.says)
		}
	}
}

func TestASmallSkewIsRefused(t *testing.T) {
	f := &ClockSkew{Env: &Env{}, Pod: "vault-0", By: -time.Second}
	if _, err := f.Inject(t.Context()); !errors.Is(err, ErrUnavailable) {
		t.Errorf("%v, want ErrUnavailable", err)
	}
	if _, err := f.offset(t.Context()); err == nil {
		t.Error("a Vault that nobody can ask tells the time")
	}
	f.Clock = func(context.Context) (time.Time, error) { return time.Now().Add(time.Hour), nil }
	if got, err := f.offset(t.Context()); err != nil || got < 59*time.Minute {
		t.Errorf("offset %s (%v), want an hour", got, err)
	}
}

func TestADaemonWithoutTheFakeClock(t *testing.T) {
	for content, want := range map[string]bool{
		"\x00fakeclock/fake_clock_gettime.o\x00": true,
		"\x00fakeclock/.embed.o\x00":             false,
	} {
		program := filepath.Join(t.TempDir(), "chaos-daemon")
		if err := os.WriteFile(program, []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
		err := exec.CommandContext(t.Context(), "sh", "-c", clockScript, "sh", program).Run()
		if (err == nil) != want {
			t.Errorf("a daemon that contains %q: %v, want it found: %v", content, err, want)
		}
	}
}

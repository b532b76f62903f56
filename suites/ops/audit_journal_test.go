package ops

import (
	"bytes"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// shell runs a script as in Vault's container.
func shell(t *testing.T, script string, args ...string) (string, error) {
	t.Helper()
	run := exec.CommandContext(t.Context(), "sh", append([]string{"-c", script, "sh"}, args...)...)
	var complaints bytes.Buffer
	run.Stderr = &complaints
	out, err := run.Output()
	return string(out) + complaints.String(), err
}

func TestJournalScripts(t *testing.T) {
	dir := t.TempDir()
	file := filepath.Join(dir, "audit.log")
	write := func(name, text string) {
		t.Helper()
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	want := func(when, script, text string, args ...string) {
		t.Helper()
		if out, err := shell(t, script, append([]string{file}, args...)...); err != nil || out != text {
			t.Errorf("%s: %q, error %v, want %q", when, out, err, text)
		}
	}
	want("a pod that was never active", wholeScript, "")
	want("a pod that was never active, at its end", latestScript, "", "4")
	write("audit.log", "new\n")
	want("before any rotation", wholeScript, "new\n")
	want("before any rotation, at its end", latestScript, "w\n", "2")
	write("audit.log.1", "older\n")
	write("audit.log.2", "oldest\n")
	write("other.log", "none of it\n")
	want("the newest first", wholeScript, "new\nolder\noldest\n")
	want("what was rotated away just now, too", latestScript, "er\new\n", "3")

	// What is there and cannot be read is no silence.
	if err := os.Mkdir(filepath.Join(dir, "audit.log.3"), 0o700); err != nil {
		t.Fatal(err)
	}
	if out, err := shell(t, wholeScript, file); err == nil || !strings.Contains(out, "audit.log.3") {
		t.Errorf("a file that cannot be read: %q, error %v", out, err)
	}
}

package ops

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/hashicorp/vault/api"

	"github.com/vaultproof/vaultproof/pkg/alert"
	"github.com/vaultproof/vaultproof/pkg/conformance"
	"github.com/vaultproof/vaultproof/pkg/history"
)

func fileDevice(path, file string) device {
	return device{path: path, kind: "file", options: map[string]string{"file_path": file}}
}

func TestRedundant(t *testing.T) {
	audit, out := fileDevice("file-audit", "/vault/audit/audit.log"), fileDevice("file-stdout", "stdout")
	for name, c := range map[string]struct {
		devices []device
		want    string
	}{
		"a file and stdout":   {[]device{audit, out}, ""},
		"a file and a socket": {[]device{audit, {path: "socket", kind: "socket", options: map[string]string{"address": "10.0.0.1:90"}}}, ""},
		"none":                {nil, "sys/audit lists 0 audit devices"},
		"one":                 {[]device{audit}, "lists 1 audit devices with 1 places that keep records (file-audit (file /vault/audit/audit.log)), want 2"},
		"the same file twice": {[]device{audit, fileDevice("again", "/vault/audit/audit.log")}, "2 audit devices with 1 places"},
		"one keeps nothing":   {[]device{audit, fileDevice("null", "discard")}, "2 audit devices with 1 places"},
	} {
		err := redundant(c.devices)
		if (c.want == "") != (err == nil) || err != nil && !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: error %v, want %q", name, err, c.want)
		}
	}
}

func TestServedWhileOneIsLost(t *testing.T) {
	op := func(at int, outcome history.Outcome) history.Op {
		return history.Op{Kind: history.Write, Call: second(at).UnixNano(), Outcome: outcome, Error: "500 internal error"}
	}
	l := &loss{r: &conformance.Case{}, pod: "vault-0", lost: fileDevice("file-audit", "/audit.log"), others: []device{fileDevice("file-stdout", "stdout")}}
	for name, c := range map[string]struct {
		ops  []history.Op
		want string
	}{
		"all good":          {[]history.Op{op(1, history.OK), op(2, history.OK)}, ""},
		"one failed before": {[]history.Op{op(-1, history.Fail), op(2, history.OK)}, ""},
		"one failed":        {[]history.Op{op(1, history.OK), op(2, history.Fail)}, "a write at 12:00:02.000 failed (500 internal error) while the audit device file-audit (file /audit.log) of pod vault-0 was lost"},
		"one is unknown":    {[]history.Op{op(2, history.Unknown)}, "want losing one to cost no request"},
		"no load":           {nil, "the load did not flow"},
	} {
		err := l.served(c.ops, noon)
		if (c.want == "") != (err == nil) || err != nil && !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: error %v, want %q", name, err, c.want)
		}
	}
}

func TestRefusedUnrecorded(t *testing.T) {
	if err := refusedUnrecorded(&api.ResponseError{StatusCode: http.StatusInternalServerError}, "vault-0"); err != nil {
		t.Error(err)
	}
	for name, c := range map[string]struct {
		err  error
		want string
	}{
		"served":           {nil, "pod vault-0 served a request although no audit device could record it"},
		"refused as such":  {&api.ResponseError{StatusCode: http.StatusForbidden}, "want 500"},
		"out of reach":     {errors.New("connection refused"), "want 500"},
		"wrapped, a 500":   {fmt.Errorf("writing: %w", &api.ResponseError{StatusCode: http.StatusInternalServerError}), ""},
		"a pod that seals": {&api.ResponseError{StatusCode: http.StatusServiceUnavailable}, ""},
	} {
		err := refusedUnrecorded(c.err, "vault-0")
		if (c.want == "") != (err == nil) || err != nil && !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: error %v, want %q", name, err, c.want)
		}
	}
}

func TestPagedSince(t *testing.T) {
	fired := []alert.Firing{firing("VaultAuditDeviceFailing", "vault-0", 10, 10, 300), firing("VaultAuditBlocked", "vault-1", 10, 10, 0)}
	if err := pagedSince(fired, "VaultAuditDeviceFailing", "vault-0", second(5), ""); err != nil {
		t.Error(err)
	}
	for name, c := range map[string]struct {
		alert string
		since int
	}{"another pod's": {"VaultAuditBlocked", 5}, "over before": {"VaultAuditDeviceFailing", 301}, "never": {"VaultSealed", 5}} {
		if err := pagedSince(fired, c.alert, "vault-0", second(c.since), "403 Forbidden"); err == nil || !strings.Contains(err.Error(), "did not fire for pod vault-0") || !strings.Contains(err.Error(), "403") {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// script runs the break script on this machine, with a process of our own in the
// place of process 1.
func script(t *testing.T, file string, seconds int, in io.Reader, said io.Writer) error {
	t.Helper()
	text := strings.ReplaceAll(breakScript, "kill -HUP 1", "kill -HUP "+strconv.Itoa(os.Getpid()))
	run := exec.CommandContext(t.Context(), "bash", "-c", text, "sh", file, strconv.Itoa(seconds))
	var complaints bytes.Buffer
	run.Stdin, run.Stdout, run.Stderr = in, said, &complaints
	if err := run.Run(); err != nil {
		return fmt.Errorf("%w (%s)", err, complaints.String())
	}
	return nil
}

func TestBreakScript(t *testing.T) {
	hangups := make(chan os.Signal, 9)
	signal.Notify(hangups, syscall.SIGHUP)
	defer signal.Stop(hangups)
	file := filepath.Join(t.TempDir(), "audit.log")
	if err := os.WriteFile(file, []byte("record\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	whole := func(when string) {
		t.Helper()
		if text, err := os.ReadFile(file); err != nil || string(text) != "record\n" {
			t.Errorf("%s: the file holds %q, error %v", when, text, err)
		}
	}
	reopened := func(when string) {
		t.Helper()
		select {
		case <-hangups:
		case <-time.After(5 * time.Second):
			t.Errorf("%s: no SIGHUP, so that Vault would not open its files anew", when)
		}
	}
	start := func(seconds int) (*brokenFile, func()) {
		in, end := io.Pipe()
		b := &brokenFile{end: end}
		b.follow(func(said io.Writer) error { return script(t, file, seconds, in, said) })
		if err := b.await(t.Context(), "broken"); err != nil {
			t.Fatal(err)
		}
		if info, err := os.Stat(file); err != nil || !info.IsDir() {
			t.Fatalf("a broken file is %v, error %v", info, err)
		}
		reopened("when it was broken")
		return b, func() { in.Close() }
	}

	b, done := start(60)
	if err := b.heal(t.Context()); err != nil {
		t.Error(err)
	}
	if err := b.heal(t.Context()); err != nil {
		t.Errorf("healing twice: %v", err)
	}
	done()
	whole("after healing")
	reopened("after healing")

	// Nobody heals it: its time is over.
	b, done = start(1)
	if err := b.await(t.Context(), "healed"); err != nil {
		t.Error(err)
	}
	done()
	whole("after its time")
	reopened("after its time")

	// What an earlier run left is not made worse.
	if err := os.WriteFile(file+".vaultproof", nil, 0o600); err != nil {
		t.Fatal(err)
	}
	b = &brokenFile{}
	b.follow(func(said io.Writer) error { return script(t, file, 1, strings.NewReader(""), said) })
	if err := b.await(t.Context(), "broken"); err == nil || !strings.Contains(err.Error(), "left from an earlier run") {
		t.Errorf("beside what an earlier run left: %v", err)
	}
	whole("beside what an earlier run left")
}

func TestAwaitGivesUp(t *testing.T) {
	b := &brokenFile{words: make(chan string)}
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Millisecond)
	defer cancel()
	if err := b.await(ctx, "broken"); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("a silent script: %v", err)
	}
}

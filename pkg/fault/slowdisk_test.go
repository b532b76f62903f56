package fault

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

func TestWrites(t *testing.T) {
	var w writes
	if err := w.read("5\n1234\n"); err != nil || w.limit != 5 || w.served != 1234 {
		t.Errorf("%+v (%v)", w, err)
	}
	if err := w.read("5\n"); err != nil || w.served != 0 {
		t.Errorf("before the first write: %+v (%v)", w, err)
	}
	for _, said := range []string{"", "max\n12", "5\nmany"} {
		if err := w.read(said); err == nil {
			t.Errorf("%q is taken for a count", said)
		}
	}
}

func TestAtTheLimit(t *testing.T) {
	start := time.Date(2026, 5, 1, 12, 0, 0, 0, time.UTC)
	look := func(after time.Duration, limit, served int) writes {
		return writes{at: start.Add(after), limit: limit, served: served}
	}
	first := look(0, 10, 100)
	for name, c := range map[string]struct {
		first, now writes
		want       bool
		says       string
	}{
		"at the limit":   {first, look(3*time.Second, 10, 130), true, "10.0 writes a second under a limit of 10"},
		"little to do":   {first, look(3*time.Second, 10, 103), false, "1.0 writes a second"},
		"not held back":  {first, look(3*time.Second, 10, 1000), false, "300.0 writes a second"},
		"another limit":  {first, look(3*time.Second, 20, 130), false, "under a limit of 20"},
		"looked at once": {writes{}, first, false, "counted once only"},
	} {
		evidence, got := atTheLimit(c.first, c.now, 10)
		if got != c.want || !strings.Contains(evidence, c.says) {
			t.Errorf("%s: witness %v (%s), want %v with %q", name, got, evidence, c.want, c.says)
		}
	}
}

// A cgroup of either version, as far as files can play it: what is written to them stays.
func TestLimitsOfACgroup(t *testing.T) {
	for version, c := range map[string]struct {
		files                 map[string]string
		limited, count, freed string
	}{
		"v1": {map[string]string{"blkio.throttle.write_iops_device": "", "blkio.throttle.io_serviced": "8:0 Read 4\n8:0 Write 21\nTotal 25\n"}, "8:0 7", "7\n21", "8:0 0"},
		"v2": {map[string]string{"io.max": "", "io.stat": "8:0 rbytes=1 wbytes=2 rios=4 wios=21 dbytes=0 dios=0\n"}, "8:0 wiops=7", "7\n21", "8:0 wiops=max"},
	} {
		pid, root := sleeper(t), t.TempDir()
		dir := filepath.Join(root, "pod", "cri-containerd-"+pid+".scope")
		if err := os.MkdirAll(dir, 0o755); err != nil {
			t.Fatal(err)
		}
		c.files["cgroup.procs"] = pid + "\n"
		limits := ""
		for name, content := range c.files {
			path := filepath.Join(dir, name)
			if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
				t.Fatal(err)
			}
			if content == "" {
				limits = path
			}
		}
		run := func(script string, args ...string) string {
			t.Helper()
			return shell(t, processesGiven+strings.ReplaceAll(script, "/host-sys/fs/cgroup /sys/fs/cgroup", root), append([]string{pid}, args...)...)
		}
		now := func() string {
			raw, err := os.ReadFile(limits)
			if err != nil {
				t.Fatal(err)
			}
			return strings.TrimSpace(string(raw))
		}
		if got := run(unthrottleScript); got != "" {
			t.Errorf("%s: freed %q of a container without limits", version, got)
		}
		run(throttleScript, "8:0", "7")
		if now() != c.limited {
			t.Errorf("%s: limits are %q, want %q", version, now(), c.limited)
		}
		if got := run(countScript, "8:0"); got != c.count {
			t.Errorf("%s: counted %q, want %q", version, got, c.count)
		}
		if got := run(unthrottleScript); got != "device 8:0" || now() != c.freed {
			t.Errorf("%s: freed %q, limits are %q, want %q", version, got, now(), c.freed)
		}
	}
}

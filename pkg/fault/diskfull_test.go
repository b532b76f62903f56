package fault

import (
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

func TestALimitThatWasThereBeforeIsLeftAlone(t *testing.T) {
	const free = "17 Max file size             unlimited            unlimited            bytes     \n"
	for name, c := range map[string]struct{ limits, want string }{
		"none":             {free + strings.Replace(free, "17", "19", 1), ""},
		"one of two":       {free + strings.Replace(free, "unlimited", "1048576  ", 1), "is 1048576 already: 17 Max file size"},
		"no process":       {"", "no limits"},
		"something unread": {"17 Max file size\n", "is unknown already"},
	} {
		err := unlimited(c.limits)
		if (c.want == "") != (err == nil) || err != nil && !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %v, want %q", name, err, c.want)
		}
	}
}

// The scripts do to a real process what they say, without the privilege to set limits.
func TestNoRoomForAProcess(t *testing.T) {
	for _, tool := range []string{"prlimit", "setpriv"} {
		if _, err := exec.LookPath(tool); err != nil {
			t.Skipf("%s is not here: %v", tool, err)
		}
	}
	pid := sleeper(t)
	soft := func() string {
		raw, err := os.ReadFile("/proc/" + pid + "/limits")
		if err != nil {
			t.Fatal(err)
		}
		return fileSize(string(raw))
	}
	if err := unlimited(shell(t, processesGiven+readLimitsScript, pid)); err != nil {
		t.Skipf("limited from the start: %v", err)
	}
	if got := shell(t, processesGiven+emptyScript, pid); got != "" {
		t.Errorf("made room for %q, which has it", got)
	}
	shell(t, laterScript, "0", processesGiven+fillScript, "sh", pid, "no container", "60", keeper+pid)
	eventually(t, "the limit", func() bool { return soft() == "0" })
	if got := shell(t, processesGiven+emptyScript, pid); !strings.Contains(got, "which keeps it full\nprocess "+pid) || soft() != "unlimited" {
		t.Errorf("made room for %q, which may now write %s bytes", got, soft())
	}
	time.Sleep(time.Second) // whoever kept it full would have looked again
	if got := shell(t, processesGiven+emptyScript, pid); got != "" {
		t.Errorf("there is still %q to undo", got)
	}
}

func TestRefusal(t *testing.T) {
	const said = `{"@message":"failed to commit logs","error":"write /vault/data/raft/raft.db: file too large"}`
	if line, found := refusal(strings.NewReader("starting\n" + said + "\n")); !found || line != said {
		t.Errorf("found %v (%s)", found, line)
	}
	if _, found := refusal(strings.NewReader("panic: something else\n")); found {
		t.Error("a Vault that died of something else is a witness")
	}
}

// The sidecar must be able to write: it is not its disk that is full.
func TestOtherContainersAreToldApart(t *testing.T) {
	status := func(name, id string) corev1.ContainerStatus {
		return corev1.ContainerStatus{Name: name, ContainerID: id}
	}
	p := place{env: &Env{Container: "vault"}, pod: &corev1.Pod{
		ObjectMeta: metav1.ObjectMeta{UID: "12-34"},
		Status: corev1.PodStatus{ContainerStatuses: []corev1.ContainerStatus{
			status("bootstrap", "containerd://abc"), status("vault", "containerd://def"), status("starting", ""),
		}},
	}}
	if got := p.others(); got != "no container|abc" {
		t.Errorf("other containers %q, want the sidecar's alone", got)
	}
	if got := p.cgroup(); got != "12[-_]34" {
		t.Errorf("the pod's cgroup %q, want both ways to write it", got)
	}
}

package fault

import (
	"errors"
	"os"
	"os/exec"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/client-go/kubernetes/fake"
)

// processesGiven stands in for processesOf: the container's id is its process, and so is
// the pod's.
const processesGiven = `
processes() { echo "$1"; }
mates() { echo "$pod"; }
pod=$1
`

// shell runs a script that faults run on nodes.
func shell(t *testing.T, script string, args ...string) string {
	t.Helper()
	command := exec.CommandContext(t.Context(), "sh", append([]string{"-c", script, "sh"}, args...)...)
	command.Stderr = os.Stderr
	out, err := command.Output()
	if err != nil {
		t.Fatalf("the script ended with %v", err)
	}
	return strings.TrimSpace(string(out))
}

// sleeper is a process to do things to.
func sleeper(t *testing.T) string {
	t.Helper()
	command := exec.CommandContext(t.Context(), "sleep", "60")
	if err := command.Start(); err != nil {
		t.Skipf("no process to do things to: %v", err)
	}
	t.Cleanup(func() {
		_ = command.Process.Kill()
		_ = command.Wait()
	})
	return strconv.Itoa(command.Process.Pid)
}

func stat(t *testing.T, pid string) string {
	t.Helper()
	raw, err := os.ReadFile("/proc/" + pid + "/stat")
	if err != nil {
		t.Fatal(err)
	}
	return string(raw)
}

func eventually(t *testing.T, what string, holds func() bool) {
	t.Helper()
	for end := time.Now().Add(10 * time.Second); !holds(); time.Sleep(20 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("%s: not within 10 s", what)
		}
	}
}

func TestPlaceNeedsAContainerAndADaemonThatSeesIt(t *testing.T) {
	pod := func(state corev1.ContainerState) *corev1.Pod {
		return &corev1.Pod{
			ObjectMeta: labelled("vault-0", nil), Spec: corev1.PodSpec{NodeName: "n"},
			Status: corev1.PodStatus{ContainerStatuses: []corev1.ContainerStatus{{Name: "vault", ContainerID: "containerd://abc", State: state}}},
		}
	}
	running := corev1.ContainerState{Running: &corev1.ContainerStateRunning{}}
	seeing := daemonAt("n")
	seeing.Spec.HostPID = true
	for name, c := range map[string]struct {
		pod    *corev1.Pod
		daemon *corev1.Pod
		want   string
	}{
		"all is there":   {pod(running), seeing, ""},
		"not running":    {pod(corev1.ContainerState{}), seeing, "container vault of pod vault-0 is not running"},
		"a blind daemon": {pod(running), daemonAt("n"), "does not see the processes of its node"},
		"no daemon":      {pod(running), &corev1.Pod{ObjectMeta: labelled("other", nil)}, "no ready pod labelled"},
	} {
		env := &Env{Client: fake.NewClientset(c.pod, c.daemon), Namespace: "vault", Container: "vault"}
		where, err := env.place(t.Context(), "vault-0")
		if c.want == "" && (err != nil || where.id != "abc") {
			t.Errorf("%s: container %q (%v)", name, where.id, err)
		}
		if c.want != "" && (!errors.Is(err, ErrUnavailable) || !strings.Contains(err.Error(), c.want)) {
			t.Errorf("%s: %v, want ErrUnavailable with %q", name, err, c.want)
		}
	}
}

// A run that dies leaves a journal; the process may be gone by the time it is read.
func TestAGripOnWhatIsGoneNeedsNothing(t *testing.T) {
	r := &recovery{client: fake.NewClientset()}
	undone, err := released(continueScript)(t.Context(), r, Ref{Kind: KindStoppedProcess, Namespace: "vault", Name: "vault-0/vault"})
	if undone || err != nil {
		t.Errorf("undone %v (%v)", undone, err)
	}
	if _, err := released(continueScript)(t.Context(), r, Ref{Kind: KindStoppedProcess, Namespace: "vault", Name: "vault-0"}); err == nil {
		t.Error("an entry without a container is taken for one")
	}
}

func TestLaterAndCallingOff(t *testing.T) {
	dir := t.TempDir()
	write := `echo done > "$1/$2"`
	group := shell(t, laterScript, "1", write, "sh", dir, "first")
	never := shell(t, laterScript, "1", write, "sh", dir, "second")
	shell(t, callOffScript, never)
	eventually(t, "what is to be done later", func() bool { _, err := os.Stat(dir + "/first"); return err == nil })
	if _, err := os.Stat(dir + "/second"); err == nil {
		t.Error("what was called off is done all the same")
	}
	eventually(t, "the end of the timer", func() bool { _, err := os.Stat("/proc/" + group); return err != nil })
	shell(t, callOffScript, group) // of what is over
}

// Processes are found by their cgroup, and those of other containers are told apart.
func TestProcessesByTheirCgroup(t *testing.T) {
	pid := sleeper(t)
	raw, err := os.ReadFile("/proc/" + pid + "/cgroup")
	if err != nil {
		t.Skipf("no cgroups here: %v", err)
	}
	all, _, _ := strings.Cut(string(raw), "\n")
	all = all[strings.LastIndex(all, ":")+1:]
	has := func(said string) bool { return slices.Contains(strings.Fields(said), pid) }
	if !has(shell(t, processesOf+`processes "$1"`, "some-pod", all)) {
		t.Errorf("process %s is not found by its cgroup %s", pid, all)
	}
	if has(shell(t, processesOf+`processes "$1"`, "some-pod", "no-such-container")) {
		t.Error("a process is found in a container that is not there")
	}
	if !has(shell(t, processesOf+`mates "$1"`, all, "no-such-container")) || has(shell(t, processesOf+`mates "$1"`, all, all)) {
		t.Error("the processes of a pod are not told from those of another container")
	}
}

func TestWhatADaemonLacks(t *testing.T) {
	if got := shell(t, lackScript, "sh", "no-such-program", "ls"); got != "no-such-program" {
		t.Errorf("lacks %q, want no-such-program alone", got)
	}
}

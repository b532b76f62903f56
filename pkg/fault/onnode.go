package fault

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/vaultproof/vaultproof/pkg/kube"
)

// processesOf defines the shell functions that find processes by what their cgroup names:
// processes prints the ids of those of the container $1, mates of those of all containers
// of the pod but the ones that match $1. The pod comes first among the arguments.
const processesOf = `
pod=$1
shift
ids() {
  while read -r file; do
    pid=${file#/proc/}
    echo "${pid%/cgroup}"
  done
}
processes() { grep -l "$1" /proc/[0-9]*/cgroup 2>/dev/null | ids; }
mates() {
  for file in $(grep -lE "$pod" /proc/[0-9]*/cgroup 2>/dev/null); do
    grep -qE "$1" "$file" 2>/dev/null || echo "$file"
  done | ids
}
`

// laterScript runs a script after some seconds, aside from this command and whatever
// becomes of who asked for it: it lives in the container of the daemon. Its arguments
// are the seconds, the script and the script's own arguments. It prints the id of its
// process group, by which it is called off.
const laterScript = `setsid sh -c 'sleep "$0"; exec sh -c "$@"' "$@" </dev/null >/dev/null 2>&1 &
echo "$!"`

// lackScript prints those of the programs it is given that are not there.
const lackScript = `for tool; do command -v "$tool" >/dev/null || echo "$tool"; done`

// callOffScript ends what laterScript started, if that is still there: its id may be
// another process's by now. A moment after its start it has no group of its own yet.
const callOffScript = `
grep -qF 'sleep "$0"; exec sh' "/proc/$1/cmdline" 2>/dev/null || exit 0
kill -- "-$1" 2>/dev/null || kill "$1" 2>/dev/null || true`

// errNotRunning means that there is no process of the container.
var errNotRunning = errors.New("is not running")

// place is Vault's container in a pod, as the daemon of Chaos Mesh sees it on the node.
type place struct {
	env  *Env
	pod  *corev1.Pod
	id   string // of the container, without its runtime
	node string
}

// place finds Vault's container in a pod. It fails with ErrUnavailable if nothing runs
// there, or nobody can act on its node.
func (e *Env) place(ctx context.Context, name string) (place, error) {
	pod, err := e.Client.CoreV1().Pods(e.Namespace).Get(ctx, name, metav1.GetOptions{})
	if err != nil {
		return place{}, fmt.Errorf("reading pod %s/%s to find its container: %w", e.Namespace, name, err)
	}
	status, ok := containerStatus(pod, e.Container)
	_, id, _ := strings.Cut(status.ContainerID, "://")
	if !ok || status.State.Running == nil || id == "" {
		return place{}, fmt.Errorf("%w: container %s of pod %s %w", ErrUnavailable, e.Container, name, errNotRunning)
	}
	daemon, err := e.daemonPod(ctx, pod.Spec.NodeName)
	if err != nil {
		return place{}, err
	}
	if !daemon.Spec.HostPID {
		return place{}, fmt.Errorf("%w: the daemon of Chaos Mesh on node %s does not see the processes of its node; install it with hostPID", ErrUnavailable, pod.Spec.NodeName)
	}
	return place{env: e, pod: pod, id: id, node: pod.Spec.NodeName}, nil
}

// onNode runs a shell script, with its arguments, in the daemon of a node.
func (e *Env) onNode(ctx context.Context, node, script string, args ...string) (string, error) {
	daemon, err := e.daemonPod(ctx, node)
	if err != nil {
		return "", err
	}
	return kube.Command{
		Namespace: daemon.Namespace, Pod: daemon.Name, Container: daemon.Spec.Containers[0].Name,
		Args: append([]string{"sh", "-c", script, "sh"}, args...),
	}.Output(ctx, e.Config, e.Client)
}

// has makes sure that the daemon of a node comes with some programs.
func (e *Env) has(ctx context.Context, node string, tools ...string) error {
	lacks, err := e.onNode(ctx, node, lackScript, tools...)
	if err != nil {
		return fmt.Errorf("looking for %s on node %s: %w", strings.Join(tools, ", "), node, err)
	}
	if missing := strings.Fields(lacks); len(missing) > 0 {
		return fmt.Errorf("%w: the image of Chaos Mesh's daemon on node %s lacks %s, which the official one has", ErrUnavailable, node, strings.Join(missing, ", "))
	}
	return nil
}

// run runs a script on the node with the container's id as its first argument.
func (p place) run(ctx context.Context, script string, args ...string) (string, error) {
	return p.env.onNode(ctx, p.node, processesOf+script, p.arguments(args...)...)
}

// later has the node run a script after a while, aside, and returns by what it is called
// off.
func (p place) later(ctx context.Context, after time.Duration, script string, args ...string) (string, error) {
	asked := []string{strconv.Itoa(int(after.Seconds())), processesOf + script, "sh"}
	group, err := p.env.onNode(ctx, p.node, laterScript, append(asked, p.arguments(args...)...)...)
	return strings.TrimSpace(group), err
}

// arguments are those that processesOf takes, and args.
func (p place) arguments(args ...string) []string {
	return append([]string{p.cgroup(), p.id}, args...)
}

// cgroup is how the names of cgroups tell the pod: systemd writes its id in its own way.
func (p place) cgroup() string { return strings.ReplaceAll(string(p.pod.UID), "-", "[-_]") }

// inside runs a program in the container itself.
func (p place) inside(ctx context.Context, args ...string) (string, error) {
	return kube.Command{Namespace: p.pod.Namespace, Pod: p.pod.Name, Container: p.env.Container, Args: args}.
		Output(ctx, p.env.Config, p.env.Client)
}

package fault

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"strconv"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/wait"
)

// KindFileLimit is a container whose processes may not write to files, named
// POD/CONTAINER.
const KindFileLimit = "FileLimit"

var _ = undoneBy(KindFileLimit, released(emptyScript))

// limitOf defines a shell function that sets how large a file a process may write,
// in bytes. It does so as the process's own user, who needs no privilege for it.
const limitOf = `
limit() {
  user=$(sed -n 's/^Uid:[[:space:]]*\([0-9]*\).*/\1/p' "/proc/$1/status")
  group=$(sed -n 's/^Gid:[[:space:]]*\([0-9]*\).*/\1/p' "/proc/$1/status")
  setpriv --reuid "$user" --regid "$group" --clear-groups prlimit --pid "$1" --fsize="$2:"
}
`

// keeper is in the command line of what keeps a disk full, with the pod after it.
const keeper = "disk-full-of-"

const (
	// readLimitsScript prints what the kernel has of each process of the pod.
	readLimitsScript = `
for pid in $(mates "no container"); do
  sed -n "s/^Max file size/$pid &/p" "/proc/$pid/limits" 2>/dev/null
done
true`

	// fillScript leaves the processes of the pod no byte to write, apart from those of
	// the containers $2, and those that start within $3 seconds neither: a Vault that
	// dies of it does not find room when it starts anew.
	fillScript = limitOf + `
end=$(($(date +%s) + $3))
while [ "$(date +%s)" -lt "$end" ]; do
  for pid in $(mates "$2"); do
    grep -q '^Max file size  *0 ' "/proc/$pid/limits" 2>/dev/null || limit "$pid" 0
  done 2>/dev/null
  sleep 0.3
done`

	// emptyScript ends that, takes the limits away where they are, and prints where.
	emptyScript = limitOf + `
for file in $(grep -laF "` + keeper + `$pod" /proc/[0-9]*/cmdline 2>/dev/null); do
  pid=${file#/proc/}
  pid=${pid%/cmdline}
  grep -qF mates "$file" 2>/dev/null && kill "$pid" && echo "process $pid, which keeps it full"
done
for pid in $(mates "no container"); do
  grep -q '^Max file size  *0 ' "/proc/$pid/limits" 2>/dev/null && limit "$pid" unlimited && echo "process $pid"
done
true`
)

// DiskFull leaves Vault in a pod no room for one more byte, on its data and on its audit
// volume at once: the kernel refuses every write to a file (RLIMIT_FSIZE is 0, the error
// is "file too large" rather than "no space left on device"). Nothing is filled: where
// volumes are folders on the disk of a node, filling one fills the node, and the kubelet
// evicts the pod first. What Vault writes to its standard output still gets out, and the
// other containers of the pod are left alone.
type DiskFull struct {
	Env *Env
	Pod string
	// Duration after which the node itself makes room again.
	Duration time.Duration
}

// Kind is disk-full.
func (f *DiskFull) Kind() string { return "disk-full" }

// Target is the pod's name.
func (f *DiskFull) Target() string { return f.Pod }

// Inject sets the limit through the daemon of the pod's node.
func (f *DiskFull) Inject(ctx context.Context) (Injected, error) {
	where, err := f.Env.place(ctx, f.Pod)
	if err != nil {
		return nil, err
	}
	if err := f.Env.has(ctx, where.node, "prlimit", "setpriv"); err != nil {
		return nil, err
	}
	limits, err := where.run(ctx, readLimitsScript)
	if err != nil {
		return nil, fmt.Errorf("reading the limits of pod %s: %w", f.Pod, err)
	}
	if err := unlimited(limits); err != nil {
		return nil, fmt.Errorf("%w: in pod %s %w", ErrUnavailable, f.Pod, err)
	}
	at := time.Now()
	lasting := strconv.Itoa(int(f.Duration.Seconds()))
	held, _, err := where.seize(ctx, grip{ref: Ref{Kind: KindFileLimit}, release: emptyScript}, f.Duration,
		func(ctx context.Context) (string, error) {
			return where.later(ctx, 0, fillScript, where.others(), lasting, keeper+where.cgroup())
		})
	if err != nil {
		return nil, fmt.Errorf("leaving pod %s no room to write: %w", f.Pod, err)
	}
	return &diskFilled{grip: held, at: at}, nil
}

// others matches the ids of the pod's other containers.
func (p place) others() string {
	ids := []string{"no container"} // which none is called
	for _, c := range p.pod.Status.ContainerStatuses {
		if _, id, _ := strings.Cut(c.ContainerID, "://"); c.Name != p.env.Container && id != "" {
			ids = append(ids, id)
		}
	}
	return strings.Join(ids, "|")
}

// unlimited judges the limits that were there before: another one could not be put back.
func unlimited(limits string) error {
	read := false
	for line := range strings.Lines(limits) {
		soft := fileSize(line)
		if read = true; soft != "unlimited" {
			return fmt.Errorf("the limit of file sizes is %s already: %s", soft, strings.Join(strings.Fields(line), " "))
		}
	}
	if !read {
		return errors.New("no limits of a process can be read")
	}
	return nil
}

// fileSize is the soft limit in a line of /proc/PID/limits.
func fileSize(line string) string {
	_, rest, _ := strings.Cut(line, "Max file size")
	if fields := strings.Fields(rest); len(fields) > 0 {
		return fields[0]
	}
	return "unknown"
}

type diskFilled struct {
	*grip
	at time.Time
}

// tooLarge is how the kernel's refusal reads in the log of a Vault.
const tooLarge = "file too large"

// Witness asks the kernel from within the container, through the kubelet, what its first
// process may write. Where that process has died meanwhile, its last words will do.
func (d *diskFilled) Witness(ctx context.Context) (Witness, error) {
	seen := "the limits were not read"
	err := wait.PollUntilContextCancel(ctx, pollEvery, true, func(ctx context.Context) (bool, error) {
		limits, err := d.place.inside(ctx, "grep", "Max file size", "/proc/1/limits")
		if err == nil && fileSize(limits) == "0" {
			seen = "the kernel lets process 1 write files of 0 bytes"
			return true, nil
		}
		if line, found := d.lastWords(ctx); found {
			seen = "the log of the container that ended says: " + line
			return true, nil
		}
		if ctx.Err() == nil {
			seen = fmt.Sprintf("the kernel lets process 1 write files of %s bytes (%v), and no log says %q", fileSize(limits), err, tooLarge)
		}
		return false, nil // the deadline decides
	})
	if err != nil {
		return Witness{}, fmt.Errorf("%w: in pod %s %s", ErrNoWitness, d.pod.Name, seen)
	}
	return Witness{Evidence: "in pod " + d.pod.Name + " " + seen, At: time.Now()}, nil
}

// lastWords looks for the kernel's refusal in the log of the container that ended last,
// since the fault.
func (d *diskFilled) lastWords(ctx context.Context) (line string, found bool) {
	since := metav1.NewTime(d.at)
	log, err := d.env.Client.CoreV1().Pods(d.pod.Namespace).GetLogs(d.pod.Name, &corev1.PodLogOptions{
		Container: d.env.Container, Previous: true, SinceTime: &since,
	}).Stream(ctx)
	if err != nil {
		return "", false // none has ended yet
	}
	defer log.Close()
	return refusal(log)
}

// refusal finds a line of the log that tells of a write that the kernel refused.
func refusal(log io.Reader) (line string, found bool) {
	lines := bufio.NewScanner(log)
	lines.Buffer(nil, 1<<20) // bytes
	for lines.Scan() {
		if strings.Contains(lines.Text(), tooLarge) {
			return strings.TrimSpace(lines.Text()), true
		}
	}
	return "", false
}

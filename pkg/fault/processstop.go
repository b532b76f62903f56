package fault

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"k8s.io/apimachinery/pkg/util/wait"
)

// KindStoppedProcess is a container whose processes were stopped, named POD/CONTAINER.
const KindStoppedProcess = "StoppedProcess"

var _ = undoneBy(KindStoppedProcess, released(continueScript))

const (
	// stopScript sends SIGSTOP to all processes of the container, and prints their
	// ids as the container itself has them. Some of them may end meanwhile.
	stopScript = `
pids=$(processes "$1")
[ -n "$pids" ] || { echo "no process of the container is on this node" >&2; exit 3; }
kill -STOP $pids 2>/dev/null
for pid in $pids; do
  sed -n 's/^NSpid:.*[[:space:]]//p' "/proc/$pid/status" 2>/dev/null
done
true`

	// continueScript sends SIGCONT to those that are stopped, and prints them.
	continueScript = `
for pid in $(processes "$1"); do
  grep -q '^State:.*(stopped)' "/proc/$pid/status" 2>/dev/null && kill -CONT "$pid" && echo "process $pid"
done
true`
)

// ProcessStop sends SIGSTOP to Vault in a pod. It is the fault that looks most like
// health: the pod is there, its connections stand, the kernel takes new ones and
// acknowledges what is sent, and nobody answers.
//
// The kubelet restarts a container whose liveness probe fails for long enough (a
// minute, in the stack): a Duration beyond that shows the kubelet's patience.
type ProcessStop struct {
	Env *Env
	Pod string
	// Duration after which the node itself lets the process go on.
	Duration time.Duration
}

// Kind is process-stop.
func (f *ProcessStop) Kind() string { return "process-stop" }

// Target is the pod's name.
func (f *ProcessStop) Target() string { return f.Pod }

// Inject stops the container's processes through the daemon of its node.
func (f *ProcessStop) Inject(ctx context.Context) (Injected, error) {
	where, err := f.Env.place(ctx, f.Pod)
	if err != nil {
		return nil, err
	}
	held, said, err := where.seize(ctx, grip{ref: Ref{Kind: KindStoppedProcess}, release: continueScript}, f.Duration,
		func(ctx context.Context) (string, error) { return where.run(ctx, stopScript) })
	if err != nil {
		return nil, fmt.Errorf("stopping the processes of pod %s: %w", f.Pod, err)
	}
	return &processStopped{grip: held, inside: strings.Fields(said)}, nil
}

type processStopped struct {
	*grip
	inside []string // process ids, as the container has them
}

// Witness asks the kernel from within the container, through the kubelet, for the state
// of its processes.
func (s *processStopped) Witness(ctx context.Context) (Witness, error) {
	files := make([]string, len(s.inside))
	for i, id := range s.inside {
		files[i] = "/proc/" + id + "/stat"
	}
	seen := "its processes were not read"
	var witness Witness
	err := wait.PollUntilContextCancel(ctx, pollEvery, true, func(ctx context.Context) (bool, error) {
		// Fails for a process that has ended, and prints the others all the same.
		stats, err := s.place.inside(ctx, append([]string{"cat"}, files...)...)
		evidence, stopped := allStopped(stats)
		if ctx.Err() == nil {
			seen = evidence
			if stats == "" {
				seen = errors.Join(errors.New(evidence), err).Error()
			}
		}
		witness = Witness{Evidence: "in pod " + s.pod.Name + " " + evidence, At: time.Now()}
		return stopped, nil
	})
	if err != nil {
		return Witness{}, fmt.Errorf("%w: in pod %s %s", ErrNoWitness, s.pod.Name, seen)
	}
	return witness, nil
}

// allStopped judges what /proc/PID/stat says of each process: stopped, or dead and not
// buried, as long as there is one of the first kind.
func allStopped(stats string) (evidence string, ok bool) {
	var stopped []string
	for line := range strings.Lines(stats) {
		name, rest, found := cutLast(line, ")")
		fields := strings.Fields(rest)
		if !found || len(fields) == 0 {
			continue
		}
		switch process := strings.Replace(name, " (", " ", 1); fields[0] {
		case "T":
			stopped = append(stopped, process)
		case "Z", "X":
		default:
			return fmt.Sprintf("process %s is in state %s, not T (stopped)", process, fields[0]), false
		}
	}
	if len(stopped) == 0 {
		return "no process that is stopped was found", false
	}
	return fmt.Sprintf("the kernel has process %s in state T (stopped)", strings.Join(stopped, ", ")), true
}

// cutLast cuts at the last separator: the name of a program may hold any character.
func cutLast(text, separator string) (before, after string, found bool) {
	i := strings.LastIndex(text, separator)
	if i < 0 {
		return text, "", false
	}
	return text[:i], text[i+len(separator):], true
}

package fault

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/chaos-mesh/chaos-mesh/api/v1alpha1"
	"k8s.io/apimachinery/pkg/util/wait"
)

var _ = madeOf(v1alpha1.KindTimeChaos)

// fakeClock is the code that Chaos Mesh puts in the place of a process's clock, by the
// name under which its daemon has it built in.
const fakeClock = "fakeclock/fake_clock_gettime.o"

// clockScript tells whether the daemon, whose program is $1, has it.
const clockScript = `grep -qaF "` + fakeClock + `" "$1"`

// clockError is how far Vault's clock may seem off for other reasons: it tells whole
// seconds, some while ago.
const clockError = 3 * time.Second

// ClockSkew sets the clock of Vault in one pod forward or back. Monotonic time, by which
// raft measures its timeouts, goes on as before.
type ClockSkew struct {
	Env *Env
	Pod string
	// By is how far, negative for back.
	By time.Duration
	// Duration after which it ends by itself, in whole seconds.
	Duration time.Duration
	// Clock asks this pod's Vault what time it is.
	Clock func(context.Context) (time.Time, error)
}

// Kind is clock-skew.
func (f *ClockSkew) Kind() string { return "clock-skew" }

// Target is the pod's name and how far its clock is moved.
func (f *ClockSkew) Target() string { return fmt.Sprintf("%s (%s)", f.Pod, f.By) }

// Inject creates a TimeChaos.
func (f *ClockSkew) Inject(ctx context.Context) (Injected, error) {
	if f.By.Abs() < 3*clockError {
		return nil, fmt.Errorf("%w: a clock that is moved by %s cannot be told from one that is not; move it by %s at least", ErrUnavailable, f.By, 3*clockError)
	}
	where, err := f.Env.place(ctx, f.Pod)
	if err != nil {
		return nil, err
	}
	if err := f.Env.hasFakeClock(ctx, where.node); err != nil {
		return nil, err
	}
	before, err := f.offset(ctx)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrUnavailable, err)
	}
	duration := f.Duration.Truncate(time.Second).String()
	created, err := f.Env.create(ctx, &v1alpha1.TimeChaos{
		ObjectMeta: f.Env.objectMeta("clock", f.Pod),
		Spec: v1alpha1.TimeChaosSpec{
			ContainerSelector: v1alpha1.ContainerSelector{
				PodSelector: podSelector(f.Env.Namespace, []string{f.Pod}), ContainerNames: []string{f.Env.Container},
			},
			TimeOffset: f.By.String(),
			ClockIds:   []string{"CLOCK_REALTIME"},
			Duration:   &duration,
		},
	})
	if err != nil {
		return nil, err
	}
	return &skewed{chaosObject: created, fault: f, before: before}, nil
}

// hasFakeClock makes sure that Chaos Mesh's daemon on a node was built with what a clock
// is replaced by.
func (e *Env) hasFakeClock(ctx context.Context, node string) error {
	daemon, err := e.daemonPod(ctx, node)
	if err != nil {
		return err
	}
	command := append(daemon.Spec.Containers[0].Command, "chaos-daemon")
	if _, err := e.onNode(ctx, node, clockScript, command[0]); err != nil {
		return fmt.Errorf("%w: the daemon of Chaos Mesh on node %s (image %s) was built without %s, by which clocks are moved: %w",
			ErrUnavailable, node, daemon.Spec.Containers[0].Image, fakeClock, err)
	}
	return nil
}

// offset is how far Vault's clock is ahead of ours.
func (f *ClockSkew) offset(ctx context.Context) (time.Duration, error) {
	if f.Clock == nil {
		return 0, errors.New("nobody can ask Vault for its time")
	}
	theirs, err := f.Clock(ctx)
	if err != nil {
		return 0, fmt.Errorf("asking the Vault of pod %s for its time: %w", f.Pod, err)
	}
	return time.Until(theirs), nil
}

type skewed struct {
	*chaosObject
	fault  *ClockSkew
	before time.Duration // how far Vault's clock was ahead of ours
}

// Witness waits until Vault itself tells a time that is off by as much as was asked for.
func (s *skewed) Witness(ctx context.Context) (Witness, error) {
	seen := "Vault was not asked for its time"
	var witness Witness
	err := wait.PollUntilContextCancel(ctx, pollEvery, true, func(ctx context.Context) (bool, error) {
		now, err := s.fault.offset(ctx)
		if err != nil {
			if ctx.Err() == nil {
				seen = err.Error()
			}
			return false, nil // the deadline decides
		}
		evidence, moved := movedBy(s.fault.By, s.before, now)
		seen = evidence
		witness = Witness{Evidence: "the Vault of pod " + s.fault.Pod + " tells a time that " + evidence, At: time.Now()}
		return moved, nil
	})
	if err != nil {
		return Witness{}, fmt.Errorf("%w: the Vault of pod %s tells a time that %s%s", ErrNoWitness, s.fault.Pod, seen, s.complaint(ctx))
	}
	return witness, nil
}

// movedBy judges how far a clock has moved against ours between two looks.
func movedBy(by, before, now time.Duration) (evidence string, moved bool) {
	got := now - before
	evidence = fmt.Sprintf("has moved by %s against ours", got.Round(time.Second))
	return strings.Replace(evidence, "by -", "back by ", 1), (got - by).Abs() <= clockError
}

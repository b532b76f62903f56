package fault

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/chaos-mesh/chaos-mesh/api/v1alpha1"
	"k8s.io/apimachinery/pkg/util/wait"
)

// The kernel's packet schedulers that make a network slow.
const (
	schedulerRate  = "tbf"
	schedulerDelay = "netem"
)

const (
	// tryScript sets the packet scheduler that its arguments describe on the loopback
	// device of a network namespace that is made for this and goes with it.
	tryScript = `unshare -n tc qdisc add dev lo root "$@"`

	// schedulersScript prints the packet schedulers on the pod's device, with what they
	// have counted, as JSON.
	schedulersScript = `
for pid in $(processes "$1"); do
  exec nsenter -t "$pid" -n tc -s -j qdisc show dev eth0
done
echo "no process of the container is on this node" >&2
exit 3`
)

// Bounds of a bandwidth limit.
const (
	// burst is how many bytes may pass at once, several of the largest packets.
	burst = 128 << 10
	// queueFor is how long a packet may wait for its turn before it is dropped.
	queueFor = time.Second
)

// SlowNetwork makes what one Vault pod sends slow: by a limit of its rate, or by a delay
// of each packet. Exactly one of them is set.
type SlowNetwork struct {
	Env *Env
	Pod string
	// Rate is the limit, in bytes a second.
	Rate uint32
	// Delay is how much later each packet leaves.
	Delay time.Duration
	// Duration after which it ends by itself, in whole seconds.
	Duration time.Duration
}

// Kind is bandwidth-limit or network-delay.
func (f *SlowNetwork) Kind() string {
	if f.Delay > 0 {
		return "network-delay"
	}
	return "bandwidth-limit"
}

// Target is the pod with what is done to it.
func (f *SlowNetwork) Target() string {
	if f.Delay > 0 {
		return fmt.Sprintf("%s (%s)", f.Pod, f.Delay)
	}
	return fmt.Sprintf("%s (%d bytes/s)", f.Pod, f.Rate)
}

func (f *SlowNetwork) scheduler() string {
	if f.Delay > 0 {
		return schedulerDelay
	}
	return schedulerRate
}

// Inject makes sure that the kernel of the pod's node has the packet scheduler that it
// takes: without it Chaos Mesh fails half-way, and does not undo that. Then it creates a
// NetworkChaos.
func (f *SlowNetwork) Inject(ctx context.Context) (Injected, error) {
	if (f.Rate > 0) == (f.Delay > 0) {
		return nil, fmt.Errorf("%w: a slow network has either a rate or a delay, this one has %d bytes/s and %s", ErrUnavailable, f.Rate, f.Delay)
	}
	where, err := f.Env.place(ctx, f.Pod)
	if err != nil {
		return nil, err
	}
	if err := f.Env.has(ctx, where.node, "unshare", "tc", "nsenter"); err != nil {
		return nil, err
	}
	try := []string{schedulerRate, "rate", "1mbit", "burst", "32768", "limit", "65536"}
	if f.Delay > 0 {
		try = []string{schedulerDelay, "delay", "1ms"}
	}
	if _, err := f.Env.onNode(ctx, where.node, tryScript, try...); err != nil {
		return nil, fmt.Errorf("%w: the kernel of node %s does not take the packet scheduler %s: %w", ErrUnavailable, where.node, f.scheduler(), err)
	}
	if before, err := f.counted(ctx, where); err != nil {
		return nil, err
	} else if before.there() {
		return nil, fmt.Errorf("%w: the network of pod %s has a packet scheduler %s already, which is not ours", ErrUnavailable, f.Pod, f.scheduler())
	}
	created, err := f.Env.create(ctx, f.object())
	if err != nil {
		return nil, err
	}
	slow := &slowed{chaosObject: created, fault: f}
	if err := created.settle(ctx); err != nil {
		return nil, errors.Join(err, slow.Recover(context.WithoutCancel(ctx)))
	}
	return slow, nil
}

func (f *SlowNetwork) object() *v1alpha1.NetworkChaos {
	duration := f.Duration.Truncate(time.Second).String()
	object := &v1alpha1.NetworkChaos{
		ObjectMeta: f.Env.objectMeta("slow", f.Pod),
		Spec: v1alpha1.NetworkChaosSpec{
			PodSelector: podSelector(f.Env.Namespace, []string{f.Pod}),
			Direction:   v1alpha1.To,
			Duration:    &duration,
		},
	}
	if f.Delay > 0 {
		object.Spec.Action = v1alpha1.DelayAction
		object.Spec.Delay = &v1alpha1.DelaySpec{Latency: fmt.Sprintf("%dus", f.Delay.Microseconds()), Jitter: "0ms", Correlation: "0"}
		return object
	}
	object.Spec.Action = v1alpha1.BandwidthAction
	queue := max(uint32(float64(f.Rate)*queueFor.Seconds()), burst)
	object.Spec.Bandwidth = &v1alpha1.BandwidthSpec{Rate: fmt.Sprintf("%dbps", f.Rate), Buffer: burst, Limit: queue}
	return object
}

type slowed struct {
	*chaosObject
	fault *SlowNetwork
}

// scheduler is one of the kernel's packet schedulers with its counters; the zero value is
// none.
type scheduler struct {
	Kind       string `json:"kind"`
	Packets    uint64 `json:"packets"`
	Overlimits uint64 `json:"overlimits"` // packets that had to wait
}

func (s scheduler) there() bool { return s.Kind != "" }

// counted reads the scheduler that the fault sets.
func (f *SlowNetwork) counted(ctx context.Context, where place) (scheduler, error) {
	said, err := where.run(ctx, schedulersScript)
	if err != nil {
		return scheduler{}, fmt.Errorf("reading the packet schedulers of pod %s: %w", f.Pod, err)
	}
	return schedulerOf(said, f.scheduler())
}

func schedulerOf(said, kind string) (scheduler, error) {
	var all []scheduler
	if err := json.Unmarshal([]byte(strings.TrimSpace(said)), &all); err != nil {
		return scheduler{}, fmt.Errorf("tc lists packet schedulers in a way that is not understood: %w", err)
	}
	for _, s := range all {
		if s.Kind == kind {
			return s, nil
		}
	}
	return scheduler{}, nil
}

// Witness waits until the kernel has counted that the scheduler in the pod's network
// namespace held packets back.
func (s *slowed) Witness(ctx context.Context) (Witness, error) {
	var first scheduler
	seen := "the packet schedulers were not read"
	var witness Witness
	err := wait.PollUntilContextCancel(ctx, pollEvery, true, func(ctx context.Context) (bool, error) {
		where, err := s.env.place(ctx, s.fault.Pod)
		var now scheduler
		if err == nil {
			now, err = s.fault.counted(ctx, where)
		}
		if err != nil {
			if ctx.Err() == nil {
				seen = err.Error()
			}
			return false, nil // the deadline decides
		}
		if !first.there() {
			first = now
		}
		evidence, slow := heldBack(first, now, s.fault.scheduler())
		seen = evidence
		witness = Witness{Evidence: "in the network namespace of pod " + s.fault.Pod + " " + evidence, At: time.Now()}
		return slow, nil
	})
	if err != nil {
		return Witness{}, fmt.Errorf("%w: in pod %s %s%s", ErrNoWitness, s.fault.Pod, seen, s.complaint(ctx))
	}
	return witness, nil
}

// heldBack judges two readings of a scheduler. One that limits a rate counts the packets
// that had to wait; one that delays makes all wait that pass.
func heldBack(first, now scheduler, kind string) (evidence string, slow bool) {
	if !first.there() || !now.there() {
		return "there is no packet scheduler " + kind, false
	}
	was, is, what := first.Overlimits, now.Overlimits, "packets that had to wait"
	if kind == schedulerDelay {
		was, is, what = first.Packets, now.Packets, "packets"
	}
	return fmt.Sprintf("the packet scheduler %s went from %d to %d %s", kind, was, is, what), is > was
}

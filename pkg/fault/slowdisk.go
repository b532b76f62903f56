package fault

import (
	"context"
	"fmt"
	"strconv"
	"strings"
	"time"

	"k8s.io/apimachinery/pkg/util/wait"
)

// KindThrottledDisk is a container whose writes to a disk are limited, named
// POD/CONTAINER.
const KindThrottledDisk = "ThrottledDisk"

var _ = undoneBy(KindThrottledDisk, released(unthrottleScript))

// groupOf defines a shell function that prints the files of the container's own cgroup
// in which the kernel keeps the limits of its writes and counts them, of cgroup v1 or v2.
// The daemon of Chaos Mesh sees the node's /sys as /host-sys.
const groupOf = `
group() {
  pid=$(processes "$1" | head -n 1)
  for dir in $(find /host-sys/fs/cgroup /sys/fs/cgroup -type d -name "*$1*" 2>/dev/null); do
    grep -qx "$pid" "$dir/cgroup.procs" 2>/dev/null || continue
    for pair in blkio.throttle.write_iops_device:blkio.throttle.io_serviced io.max:io.stat; do
      [ -w "$dir/${pair%:*}" ] && echo "$dir/${pair%:*} $dir/${pair#*:}" && return
    done
  done
}
`

const (
	// diskScript prints the device numbers of the disk that holds the folder $2 of the
	// container, and the limits that there are already. The limits of a partition are
	// those of its disk. What is not on a disk has no device to limit.
	diskScript = groupOf + `
set -- $(group "$1") "$(processes "$1" | head -n 1)" "$2"
[ $# = 4 ] || { echo "its cgroup has no limits of writes to a disk" >&2; exit 3; }
device=$(while read -r _ _ device _ mount _; do [ "$mount" = "$4" ] && echo "$device"; done < "/proc/$3/mountinfo" | tail -n 1)
[ -e "/sys/dev/block/$device/partition" ] && device=$(cat "/sys/dev/block/$device/../dev")
[ -n "$device" ] && [ -e "/sys/dev/block/$device" ] || { echo "$4 is not on a disk of the node (device '$device')" >&2; exit 4; }
echo "$device"
grep -v 'wiops=max' "$1" || true`

	// throttleScript limits the writes to the device $2 to $3 a second.
	throttleScript = groupOf + `
set -- $(group "$1") "$2" "$3"
case $1 in
*/io.max) echo "$3 wiops=$4" > "$1" ;;
*) echo "$3 $4" > "$1" ;;
esac`

	// unthrottleScript takes every limit of writes away, and prints the devices.
	unthrottleScript = groupOf + `
set -- $(group "$1")
[ $# = 2 ] || exit 0
echo "$(cat "$1")" | while read -r device limits; do
  case $1:$limits in
  *:) continue ;;
  */io.max:*wiops=max*) continue ;;
  */io.max:*) echo "$device wiops=max" > "$1" ;;
  *) echo "$device 0" > "$1" ;;
  esac && echo "device $device"
done
true`

	// countScript prints the limit of the device $2 and how many writes were served.
	countScript = groupOf + `
set -- $(group "$1") "$2"
case $1 in
*/io.max) sed -n "s/^$3 .*wiops=\([0-9]*\).*/\1/p" "$1"; sed -n "s/^$3 .*wios=\([0-9]*\).*/\1/p" "$2" ;;
*) sed -n "s/^$3 //p" "$1"; sed -n "s/^$3 Write //p" "$2" ;;
esac`
)

// slowFor is how long writes are counted to tell their rate.
const slowFor = 3 * time.Second

// SlowDisk limits how many writes a second the disk under a folder of a Vault pod takes
// from it, by the container's cgroup. Whatever Vault syncs waits for its turn.
type SlowDisk struct {
	Env *Env
	Pod string
	// Folder is where the volume is mounted: /vault/data.
	Folder string
	// Writes are how many are served a second.
	Writes int
	// Duration after which the node itself ends the limit.
	Duration time.Duration
}

// Kind is slow-disk.
func (f *SlowDisk) Kind() string { return "slow-disk" }

// Target is the pod with the folder.
func (f *SlowDisk) Target() string { return fmt.Sprintf("%s (%s)", f.Pod, f.Folder) }

// Inject finds the disk and sets the limit through the daemon of the pod's node.
func (f *SlowDisk) Inject(ctx context.Context) (Injected, error) {
	where, err := f.Env.place(ctx, f.Pod)
	if err != nil {
		return nil, err
	}
	said, err := where.run(ctx, diskScript, f.Folder)
	if err != nil {
		return nil, fmt.Errorf("%w: the disk of %s in pod %s cannot be made slow: %w", ErrUnavailable, f.Folder, f.Pod, err)
	}
	device, limits, _ := strings.Cut(strings.TrimSpace(said), "\n")
	if limits != "" {
		return nil, fmt.Errorf("%w: the writes of pod %s are limited already: %s", ErrUnavailable, f.Pod, limits)
	}
	held, _, err := where.seize(ctx, grip{ref: Ref{Kind: KindThrottledDisk}, release: unthrottleScript}, f.Duration,
		func(ctx context.Context) (string, error) {
			return where.run(ctx, throttleScript, device, strconv.Itoa(f.Writes))
		})
	if err != nil {
		return nil, fmt.Errorf("making the disk of pod %s slow: %w", f.Pod, err)
	}
	return &diskSlowed{grip: held, fault: f, device: device}, nil
}

type diskSlowed struct {
	*grip
	fault  *SlowDisk
	device string // major:minor
}

// Patience is what it takes to tell a rate, some times over.
func (d *diskSlowed) Patience() time.Duration { return 10 * slowFor }

// Witness waits until the kernel has served Vault's writes at the rate of the limit for
// a while. A Vault that writes less shows nothing.
func (d *diskSlowed) Witness(ctx context.Context) (Witness, error) {
	var first writes
	seen := "the writes were not counted"
	var witness Witness
	err := wait.PollUntilContextCancel(ctx, slowFor, true, func(ctx context.Context) (bool, error) {
		said, err := d.run(ctx, countScript, d.device)
		now := writes{at: time.Now()}
		if err == nil {
			err = now.read(said)
		}
		if err != nil {
			if ctx.Err() == nil {
				seen = err.Error()
			}
			return false, nil // the deadline decides
		}
		evidence, slow := atTheLimit(first, now, d.fault.Writes)
		first, seen = now, evidence
		witness = Witness{Evidence: fmt.Sprintf("on device %s of pod %s %s", d.device, d.pod.Name, evidence), At: now.at}
		return slow, nil
	})
	if err != nil {
		return Witness{}, fmt.Errorf("%w: on device %s of pod %s %s", ErrNoWitness, d.device, d.pod.Name, seen)
	}
	return witness, nil
}

// writes is one look at what the kernel counted.
type writes struct {
	at            time.Time
	limit, served int
}

// read takes what countScript printed. Before the first write nothing is counted.
func (w *writes) read(said string) error {
	limit, served, _ := strings.Cut(strings.TrimSpace(said), "\n")
	var err error
	if w.limit, err = strconv.Atoi(limit); err != nil {
		return fmt.Errorf("the kernel tells no limit (%q)", said)
	}
	if w.served, err = strconv.Atoi(strings.TrimSpace(served)); err != nil && served != "" {
		return fmt.Errorf("the kernel tells no number of writes (%q)", said)
	}
	return nil
}

// atTheLimit judges two looks: the limit is there, and writes are served at its rate.
func atTheLimit(first, now writes, limit int) (evidence string, slow bool) {
	if first.at.IsZero() {
		return "the writes were counted once only", false
	}
	rate := float64(now.served-first.served) / now.at.Sub(first.at).Seconds()
	evidence = fmt.Sprintf("the kernel served %.1f writes a second under a limit of %d", rate, now.limit)
	return evidence, now.limit == limit && rate >= 0.5*float64(limit) && rate <= 1.5*float64(limit)
}

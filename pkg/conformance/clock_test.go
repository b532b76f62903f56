package conformance

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strconv"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/vaultproof/vaultproof/pkg/kube"
	"github.com/vaultproof/vaultproof/pkg/probe"
	"github.com/vaultproof/vaultproof/pkg/target"
	"github.com/vaultproof/vaultproof/pkg/timeline"
)

// What TestOutageClockAgainstPackets is told by the environment: the kubeconfig of a
// cluster with a Vault and with Chaos Mesh, and the host:port of its custody, if this
// machine reaches it by another one than pods do.
const (
	clockKubeconfig = "OUTAGE_CLOCK_KUBECONFIG"
	clockCustody    = "OUTAGE_CLOCK_CUSTODY"
)

const (
	// packetError is by how much an outage that is reported may differ from the time
	// for which packets were dropped.
	packetError = 20 * time.Millisecond
	// packetRounds is how many outages are made, each some milliseconds longer than
	// the one before, so that they meet the schedule of the load in every phase.
	packetRounds = 10
)

// dropScript drops what leaves the network namespace of the container $1 for TCP port
// $2, for $3 seconds, and prints when: before and after the rule was set, before and
// after it was taken away, in ns since 1970. The rule goes whatever ends the script.
const dropScript = `
for file in $(grep -l "$1" /proc/[0-9]*/cgroup 2>/dev/null); do
  pid=${file#/proc/}; pid=${pid%/cgroup}
  exec nsenter -t "$pid" -n sh -c '
    rule="OUTPUT -p tcp --dport $1 -j DROP"
    trap "iptables -w -D $rule 2>/dev/null" EXIT
    a=$(date +%s%N); iptables -w -I $rule || exit 4; b=$(date +%s%N)
    sleep "$2"
    c=$(date +%s%N); iptables -w -D $rule || exit 4; d=$(date +%s%N)
    trap - EXIT
    echo "$a $b $c $d"' sh "$2" "$3"
done
echo "no process of the container is on this node" >&2
exit 3`

// drop is a time in which packets were dropped. Each end is known to lie between two
// instants.
type drop struct{ setFrom, setTo, goneFrom, goneTo time.Time }

// parseDrop reads what dropScript prints.
func parseDrop(text string) (drop, error) {
	words := strings.Fields(text)
	if len(words) != 4 {
		return drop{}, fmt.Errorf("the script printed %q, want four instants", strings.TrimSpace(text))
	}
	var at [4]time.Time
	for i, word := range words {
		ns, err := strconv.ParseInt(word, 10, 64)
		if err != nil {
			return drop{}, fmt.Errorf("instant %q is no number of nanoseconds (does date know %%N?): %w", word, err)
		}
		at[i] = time.Unix(0, ns)
	}
	return drop{at[0], at[1], at[2], at[3]}, nil
}

// beyond is how far an instant is from a span; 0 within it.
func beyond(at, from, to time.Time) time.Duration { return max(from.Sub(at), at.Sub(to), 0) }

// compare tells by how much a reported outage is off, beyond what is not known of the
// truth.
func (d drop) compare(w probe.Window) (start, end time.Duration, err error) {
	start, end = beyond(w.Start, d.setFrom, d.setTo), beyond(w.End, d.goneFrom, d.goneTo)
	if w.Open || w.Start.IsZero() || start > packetError || end > packetError {
		err = fmt.Errorf("packets were dropped from %s (within %s) to %s (within %s); reported from %s (off by %s) to %s (off by %s), want within %s: %s",
			d.setTo.Format(time.StampMicro), d.setTo.Sub(d.setFrom), d.goneTo.Format(time.StampMicro), d.goneTo.Sub(d.goneFrom),
			w.Start.Format(time.StampMicro), start, w.End.Format(time.StampMicro), end, packetError, w.FirstError)
	}
	return start, end, err
}

func TestDropsAreCompared(t *testing.T) {
	d, err := parseDrop("1000000000 1004000000 2000000000 2004000000\n")
	if err != nil {
		t.Fatal(err)
	}
	at := func(ms int64) time.Time { return time.UnixMilli(ms) }
	for name, test := range map[string]struct {
		window probe.Window
		start  time.Duration
		wrong  bool
	}{
		"right":      {probe.Window{Start: at(1002), End: at(2002)}, 0, false},
		"late start": {probe.Window{Start: at(1014), End: at(2002)}, 10 * time.Millisecond, false},
		"early":      {probe.Window{Start: at(970), End: at(2002)}, 30 * time.Millisecond, true},
		"late end":   {probe.Window{Start: at(1002), End: at(2025)}, 0, true},
		"open":       {probe.Window{Start: at(1002), End: at(2002), Open: true}, 0, true},
		"none":       {probe.Window{}, 0, true},
	} {
		start, _, err := d.compare(test.window)
		if (err != nil) != test.wrong || test.start != 0 && start != test.start {
			t.Errorf("%s: off by %s, %v", name, start, err)
		}
	}
	for _, text := range []string{"", "1 2 3", "1 2 3 4N"} {
		if _, err := parseDrop(text); err == nil {
			t.Errorf("%q was read as a drop", text)
		}
	}
}

// TestOutageClockAgainstPackets drops the packets of the load of a run, on a real
// cluster, for times that are known to the millisecond, and compares what is reported.
// The clock of the node must be that of this machine, as it is with kind.
func TestOutageClockAgainstPackets(t *testing.T) {
	if os.Getenv(clockKubeconfig) == "" {
		t.Skip(clockKubeconfig + " names no kubeconfig")
	}
	ctx := t.Context()
	opts := DefaultOptions()
	opts.Kubeconfig = os.Getenv(clockKubeconfig)
	config, err := opts.restConfig()
	if err != nil {
		t.Fatal(err)
	}
	vault, err := target.Find(ctx, config, target.Options{CustodyEndpoint: os.Getenv(clockCustody)})
	if err != nil {
		t.Fatal(err)
	}
	s := &session{opts: opts, seed: 1, runID: "clock", dir: t.TempDir(), log: timeline.New(nil), target: vault}
	traffic, err := s.newTraffic(ctx)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := traffic.close(context.WithoutCancel(ctx)); err != nil {
			t.Error(err)
		}
	})
	if err := traffic.Flow(ctx, 2*lateness); err != nil {
		t.Fatal(err)
	}
	worst := time.Duration(0)
	for round := range packetRounds {
		length := 1500*time.Millisecond + time.Duration(round)*3*time.Millisecond
		d, err := dropPackets(ctx, vault, traffic.prober.Pod(), length)
		if err != nil {
			t.Fatal(err)
		}
		if err := traffic.Flow(ctx, lateness+probe.Calm); err != nil {
			t.Fatal(err)
		}
		w := probe.Outage(s.log.Events(), d.setFrom.Add(-probe.Calm), time.Now())
		start, end, err := d.compare(w)
		if err != nil {
			t.Error(err)
		}
		worst = max(worst, start, end)
		late := traffic.prober.Lateness(d.setFrom.Add(-probe.Calm), time.Now())
		t.Logf("dropped for %s, reported %s; the beginning is off by %s beyond %s, the end by %s beyond %s; the prober was late by %s, its clock is known within %s",
			d.goneTo.Sub(d.setTo), w.Length(), start, d.setTo.Sub(d.setFrom), end, d.goneTo.Sub(d.goneFrom), late, traffic.prober.ClockError())
	}
	t.Logf("worst error in %d outages: %s", packetRounds, worst)
}

// dropPackets drops what the prober sends to Vault, through Chaos Mesh's daemon on its
// node.
func dropPackets(ctx context.Context, vault *target.Target, prober string, length time.Duration) (drop, error) {
	pod, err := vault.Client.CoreV1().Pods(probe.DefaultNamespace).Get(ctx, prober, metav1.GetOptions{})
	if err != nil {
		return drop{}, fmt.Errorf("reading the prober's pod: %w", err)
	}
	var id string
	for _, c := range pod.Status.ContainerStatuses {
		_, id, _ = strings.Cut(c.ContainerID, "://")
	}
	daemon, err := daemonOn(ctx, vault, pod.Spec.NodeName)
	if err != nil {
		return drop{}, err
	}
	printed, err := kube.Command{
		Namespace: daemon.Namespace, Pod: daemon.Name, Container: daemon.Spec.Containers[0].Name,
		Args: []string{"sh", "-c", dropScript, "sh", id, strconv.Itoa(target.VaultPort), strconv.FormatFloat(length.Seconds(), 'f', 3, 64)},
	}.Output(ctx, vault.Config, vault.Client)
	if err != nil {
		return drop{}, fmt.Errorf("dropping the packets of the prober: %w", err)
	}
	return parseDrop(printed)
}

func daemonOn(ctx context.Context, vault *target.Target, node string) (*corev1.Pod, error) {
	pods, err := vault.Client.CoreV1().Pods("").List(ctx, metav1.ListOptions{
		LabelSelector: "app.kubernetes.io/component=chaos-daemon", FieldSelector: "spec.nodeName=" + node,
	})
	if err != nil {
		return nil, fmt.Errorf("looking for Chaos Mesh's daemon on node %s: %w", node, err)
	}
	for i := range pods.Items {
		if target.PodReady(&pods.Items[i]) {
			return &pods.Items[i], nil
		}
	}
	return nil, errors.New("no daemon of Chaos Mesh is ready on node " + node + ": install it, and let it tolerate the taints of the services node")
}

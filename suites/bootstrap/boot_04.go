package bootstrap

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/onsi/ginkgo/v2"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/vaultproof/vaultproof/pkg/conformance"
	"github.com/vaultproof/vaultproof/pkg/fault"
	"github.com/vaultproof/vaultproof/pkg/target"
)

// restartTimeout is how long a standby may take from its deletion to being
// unsealed: a graceful end of up to 30 s, and a start on a busy machine.
const restartTimeout = 2 * time.Minute

var boot04 = conformance.Check{
	ID: "BOOT-04", Area: area, Level: conformance.Must,
	Assertion: "idempotent: bootstrap on an initialised Vault adds no version to custody and writes nothing",
	Source:    "bank-vaults#235",
	Observe:   "count the versions of every secret in custody before and after the bootstrap of a restarted standby",
	Timeout:   restartTimeout + time.Minute,
}

var _ = conformance.It(boot04, conformance.Conformance, func(ctx ginkgo.SpecContext, r *conformance.Case) error {
	states, err := r.Target.State(ctx)
	if err != nil {
		return r.CannotTell(err)
	}
	if err := r.Target.Whole(states); err != nil {
		return r.Inconclusive("a standby is only restarted while all is well: %w", err)
	}
	if r.Target.SidecarContainer == "" {
		return r.Skip("the pods of StatefulSet %s have no bootstrap container", r.Target.StatefulSet)
	}
	before, err := r.Target.CustodyVersions(ctx)
	if err != nil {
		return r.CannotTell(err)
	}
	standbys := slices.DeleteFunc(states, func(s target.PodState) bool { return s.IsSelf })
	if len(standbys) == 0 {
		return r.Skip("there is no standby to restart")
	}
	pod := standbys[r.Rand.IntN(len(standbys))].Pod
	started := time.Now()
	if err := restart(ctx, r, pod); err != nil {
		return err
	}
	r.Measure("restart_ms", float64(time.Since(started).Milliseconds()))
	after, err := r.Target.CustodyVersions(ctx)
	if err != nil {
		return r.CannotTell(err)
	}
	r.Measure("custody_versions_total", float64(total(after)))
	return sameVersions(pod.Name, before, after)
})

// restart deletes a pod, proves that it is another one then, and waits until
// Vault is whole again.
func restart(ctx context.Context, r *conformance.Case, pod corev1.Pod) error {
	deleted, err := (&fault.PodDelete{Env: r.Faults, Pod: pod.Name}).Inject(ctx)
	if err != nil {
		return r.CannotTell(err)
	}
	ctx, cancel := context.WithTimeout(ctx, restartTimeout)
	defer cancel()
	if _, err := deleted.Witness(ctx); err != nil {
		return err
	}
	if _, err := r.Target.AwaitWhole(ctx); err != nil {
		return fmt.Errorf("pod %s was restarted, and %s later %w", pod.Name, restartTimeout, err)
	}
	now, err := r.Target.Client.CoreV1().Pods(pod.Namespace).Get(ctx, pod.Name, metav1.GetOptions{})
	if err != nil {
		return r.CannotTell(fmt.Errorf("reading the restarted pod %s: %w", pod.Name, err))
	}
	if now.UID == pod.UID {
		return r.Inconclusive("pod %s has UID %s still: it was not restarted", pod.Name, pod.UID)
	}
	return nil
}

func total(counts map[string]int) (n int) {
	for _, c := range counts {
		n += c
	}
	return n
}

// sameVersions judges the numbers of versions in custody around a restart.
func sameVersions(pod string, before, after map[string]int) error {
	if len(before) == 0 {
		return fmt.Errorf("custody held no secret before pod %s was restarted, so its bootstrap had nothing to be idempotent about", pod)
	}
	names := maps.Clone(before)
	maps.Copy(names, after)
	var changed []string
	for _, name := range slices.Sorted(maps.Keys(names)) {
		if before[name] != after[name] {
			changed = append(changed, fmt.Sprintf("%s went from %d to %d versions", name, before[name], after[name]))
		}
	}
	if len(changed) == 0 {
		return nil
	}
	return fmt.Errorf("the bootstrap of the restarted standby %s changed custody: %s; want no change (bank-vaults#235)", pod, strings.Join(changed, ", "))
}

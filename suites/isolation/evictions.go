package isolation

import (
	"context"
	"fmt"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/util/wait"
	"k8s.io/client-go/kubernetes"

	"github.com/vaultproof/vaultproof/pkg/conformance"
	"github.com/vaultproof/vaultproof/pkg/fault"
	"github.com/vaultproof/vaultproof/pkg/kube"
	"github.com/vaultproof/vaultproof/pkg/target"
)

const (
	// sealedWithin is how long a restarted standby may take until its container runs.
	sealedWithin = 60 * time.Second
	// budgetWithin is how long Kubernetes may take to count a pod that is not ready.
	budgetWithin = 20 * time.Second
	// lookEvery is how often its successor is looked for: often enough to set a hold before the container starts.
	lookEvery = 50 * time.Millisecond
)

// tryEvictions asks for evictions, all of them dry runs, while the Vault is whole, and
// while one standby is restarted and held sealed. The Vault is whole again afterwards.
func tryEvictions(ctx context.Context, r *conformance.Case, budget string) ([]eviction, error) {
	standbys, err := calm(ctx, r.Target)
	if err != nil {
		return nil, fmt.Errorf("a pod is only restarted while all is well: %w", err)
	}
	if len(standbys) < 2 {
		return nil, fmt.Errorf("there are %d standbys, and it takes two: one to be sealed, one beside it", len(standbys))
	}
	r.Rand.Shuffle(len(standbys), func(i, j int) { standbys[i], standbys[j] = standbys[j], standbys[i] })
	victim, other := standbys[0].Pod, standbys[1].Pod
	ev := evictor{client: r.Target.Client, namespace: r.Target.Namespace, run: r.ID}
	healthy, err := ev.dryRunInTime(ctx, &victim, whole)
	if err != nil {
		return nil, err
	}
	if r.Faults != nil && r.Faults.Journal != nil {
		ev.journal = r.Faults.Journal
	}
	r.Defer(func(ctx context.Context) error { return ev.release(ctx, victim.Name) })
	closed, err := ev.restartSealed(ctx, &victim)
	if err != nil {
		return nil, err
	}
	if err := saysSealed(ctx, r.Target, closed.Name); err != nil {
		return nil, err
	}
	if err := ev.awaitSpent(ctx, budget); err != nil {
		return nil, err
	}
	seen := []eviction{healthy}
	for _, c := range []struct {
		pod  *corev1.Pod
		when string
	}{{closed, sealed}, {&other, beside}} {
		said, err := ev.dryRun(ctx, c.pod, c.when)
		if err != nil {
			return nil, err
		}
		seen = append(seen, said)
	}
	// What was said counts if the pod was not ready all the while.
	if err := ev.stillClosed(ctx, closed); err != nil {
		return nil, err
	}
	if err := ev.release(ctx, victim.Name); err != nil {
		return nil, err
	}
	if _, err := calm(ctx, r.Target); err != nil {
		return nil, fmt.Errorf("the Vault is not whole again after pod %s was released: %w", victim.Name, err)
	}
	return seen, nil
}

// calm waits until the Vault is whole and returns its standbys.
func calm(ctx context.Context, t *target.Target) ([]target.PodState, error) {
	ctx, cancel := context.WithTimeout(ctx, wholeAgain)
	defer cancel()
	states, err := t.AwaitWhole(ctx)
	if err != nil {
		return nil, err
	}
	var standbys []target.PodState
	for _, s := range states {
		if !s.IsSelf {
			standbys = append(standbys, s)
		}
	}
	return standbys, nil
}

// saysSealed waits until a pod's Vault itself says that it is sealed.
func saysSealed(ctx context.Context, t *target.Target, pod string) error {
	ctx, cancel := context.WithTimeout(ctx, sealedWithin)
	defer cancel()
	if _, err := t.WatchSeal(ctx, pod, 500*time.Millisecond, target.SealLook.Sealed); err != nil {
		return fmt.Errorf("the Vault of the held pod %s did not say that it is sealed: %w", pod, err)
	}
	return nil
}

// evictor asks for evictions, and restarts a pod so that it stays sealed.
type evictor struct {
	client         kubernetes.Interface
	namespace, run string
	journal        *fault.Journal // nil if the run has none
}

// dryRun asks for the eviction of this very pod without evicting it.
func (e evictor) dryRun(ctx context.Context, pod *corev1.Pod, when string) (eviction, error) {
	refusal, err := kube.TryEviction(ctx, e.client, pod)
	return eviction{pod: pod.Name, when: when, refusal: refusal}, err
}

// dryRunInTime asks until the eviction is admitted: Kubernetes takes a moment to count
// pods that have become ready.
func (e evictor) dryRunInTime(ctx context.Context, pod *corev1.Pod, when string) (eviction, error) {
	ctx, cancel := context.WithTimeout(ctx, budgetWithin)
	defer cancel()
	var said eviction
	err := wait.PollUntilContextCancel(ctx, time.Second, true, func(ctx context.Context) (bool, error) {
		now, err := e.dryRun(ctx, pod, when)
		if err == nil {
			said = now
		}
		return said.pod != "" && said.refusal == "", err
	})
	if err != nil && said.refusal == "" {
		return said, err
	}
	return said, nil // refused all the time is an answer
}

func (e evictor) hold(pod string) fault.Ref {
	return fault.Ref{Kind: fault.KindHold, Namespace: e.namespace, Name: pod}
}

package resilience

import (
	"cmp"
	"context"
	"fmt"
	"time"

	"github.com/onsi/ginkgo/v2"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/vaultproof/vaultproof/pkg/conformance"
	"github.com/vaultproof/vaultproof/pkg/fault"
	"github.com/vaultproof/vaultproof/pkg/target"
	"github.com/vaultproof/vaultproof/suites/trial"
)

const (
	// custodyDownFor is how long a restarted pod is watched while custody is down.
	custodyDownFor = 15 * time.Second
	// restartedFor is how long a deleted pod's successor may take to answer.
	restartedFor = 90 * time.Second
	// sealLookEvery is how often the pod is looked at.
	sealLookEvery = 250 * time.Millisecond
	// recoverWithin is how long the pod may take once custody is back, unless a budget
	// is set: 5 s for a call that was waiting just then, 5 s of pause before the next
	// attempt, and a second to unseal.
	recoverWithin = 11 * time.Second
	// quotaPerMinute is what Secret Manager allows a project of calls other than
	// reading payloads, the lowest of its quotas. All pods together must stay below.
	quotaPerMinute = 600
)

// outages are the ways in which custody fails here, one after the other.
var outages = []string{"deny", "unavailable", "quota", "deadline"}

var res09 = conformance.Check{
	ID: "RES-09", Area: area, Level: conformance.Must,
	Assertion: "a pod that restarts while custody is down stays sealed and not Ready, asks at a bounded rate, and recovers within its retry interval and 5 s of custody's return",
	Source:    "Secret Manager's quotas",
	Observe:   "a restarted standby while custody denies, is unavailable, is over quota, and does not answer, in turn: its seal, its readiness, custody's log",
	Timeout:   20 * time.Minute,
}

var _ = conformance.It(res09, conformance.Chaos, func(ctx ginkgo.SpecContext, r *conformance.Case) error {
	if r.CustodySwitch == nil {
		return r.Skip("this custody cannot be made to fail")
	}
	if r.Target.SidecarContainer == "" {
		return r.Skip("the pods of StatefulSet %s have no bootstrap container", r.Target.StatefulSet)
	}
	for i, mode := range outages {
		if err := outlive(ctx, r, i+1, mode); err != nil {
			return err
		}
	}
	return nil
})

// outlive restarts a standby while custody fails in one way, and judges it.
func outlive(ctx context.Context, r *conformance.Case, n int, mode string) error {
	states, err := trial.AwaitWhole(ctx, r.Target)
	if err != nil {
		return r.Inconclusive("Vault was not whole before custody was taken down (%s): %w", mode, err)
	}
	pod, err := aStandby(r, states)
	if err != nil {
		return err
	}
	down, err := trial.Strike(ctx, r, n, &fault.CustodyOutage{
		Switch: r.CustodySwitch, Fault: fault.CustodyFault{Mode: mode}, Principal: principal(&pod),
	})
	if err != nil {
		return err
	}
	defer down.Report(ctx)
	if err := restartInto(ctx, r, pod.Name); err != nil {
		return err
	}
	if err := down.Witness(ctx); err != nil {
		return err
	}
	if err := shutOut(ctx, r, pod, mode); err != nil {
		return err
	}
	if err := down.Undo(ctx); err != nil {
		return err
	}
	return opens(ctx, r, pod.Name, mode)
}

// aStandby picks one by the seed.
func aStandby(r *conformance.Case, states []target.PodState) (corev1.Pod, error) {
	var standbys []corev1.Pod
	for _, s := range states {
		if !s.IsSelf {
			standbys = append(standbys, s.Pod)
		}
	}
	if len(standbys) == 0 {
		return corev1.Pod{}, r.Skip("there is no standby to restart")
	}
	return standbys[r.Rand.IntN(len(standbys))], nil
}

// principal is who the sidecar is to custody.
func principal(pod *corev1.Pod) string { return pod.Namespace + "/" + pod.Spec.ServiceAccountName }

// restartInto deletes the pod and waits until its successor's Vault answers.
func restartInto(ctx context.Context, r *conformance.Case, pod string) error {
	deleted, err := (&fault.PodDelete{Env: r.Faults, Pod: pod}).Inject(ctx)
	if err != nil {
		return r.CannotTell(err)
	}
	if _, err := trial.Witness(ctx, deleted); err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, restartedFor)
	defer cancel()
	if _, err := r.Target.WatchSeal(ctx, pod, sealLookEvery, func(l target.SealLook) bool { return l.Err == nil }); err != nil {
		return r.Inconclusive("the Vault of the restarted pod %s did not answer in %s: %w", pod, restartedFor, err)
	}
	return nil
}

// waited is what a pod did while custody was down.
type waited struct {
	pod, mode string
	looks     []target.SealLook
	// ready is set if Kubernetes ever took the pod for Ready.
	ready bool
	calls int
	// pods share the quota.
	pods int
	span time.Duration
}

// shutOut watches the pod for custodyDownFor and judges it.
func shutOut(ctx context.Context, r *conformance.Case, pod corev1.Pod, mode string) error {
	w := waited{pod: pod.Name, mode: mode, pods: r.Target.Replicas}
	began := time.Now()
	var unread error
	looks, err := r.Target.WatchSeal(ctx, pod.Name, sealLookEvery, func(target.SealLook) bool {
		now, err := r.Target.Client.CoreV1().Pods(pod.Namespace).Get(ctx, pod.Name, metav1.GetOptions{})
		if err != nil {
			unread = fmt.Errorf("reading pod %s/%s: %w", pod.Namespace, pod.Name, err)
		} else if target.PodReady(now) {
			w.ready = true
		}
		return time.Since(began) >= custodyDownFor
	})
	if err == nil {
		err = unread
	}
	if err != nil {
		return r.CannotTell(err)
	}
	w.looks, w.span = looks, time.Since(began)
	calls, err := r.CustodySwitch.Calls(ctx, began)
	if err != nil {
		return r.CannotTell(err)
	}
	for _, c := range calls {
		if c.Principal == principal(&pod) {
			w.calls++
		}
	}
	r.Measure(mode+"_calls_per_minute", w.rate())
	if w.answers() == 0 {
		return r.Inconclusive("pod %s never answered while custody was down (%s), so that it stayed sealed is not shown", pod.Name, mode)
	}
	return patient(w)
}

// rate is the calls to custody in a minute.
func (w waited) rate() float64 { return float64(w.calls) / w.span.Minutes() }

func (w waited) answers() (n int) {
	for _, l := range w.looks {
		if l.Err == nil {
			n++
		}
	}
	return n
}

// patient judges what a pod did while custody was down.
func patient(w waited) error {
	for _, l := range w.looks {
		if l.Err == nil && !l.Sealed() {
			return fmt.Errorf("while custody was down (%s) the restarted pod %s did not stay sealed with its data: %s", w.mode, w.pod, l)
		}
	}
	if w.ready {
		return fmt.Errorf("while custody was down (%s) the restarted pod %s was Ready although sealed", w.mode, w.pod)
	}
	share := float64(quotaPerMinute) / float64(w.pods)
	if w.rate() > share {
		return fmt.Errorf("while custody was down (%s) the sidecar of pod %s made %d calls in %s, %.0f a minute; want at most %.0f, the share of one of %d pods in a quota of %d",
			w.mode, w.pod, w.calls, trial.Round(w.span), w.rate(), share, w.pods, quotaPerMinute)
	}
	return nil
}

// opens times the unsealing of the pod after custody was healed.
func opens(ctx context.Context, r *conformance.Case, pod, mode string) error {
	healed := time.Now()
	watched, cancel := context.WithTimeout(ctx, trial.WholeTimeout)
	defer cancel()
	looks, err := r.Target.WatchSeal(watched, pod, sealLookEvery, target.SealLook.Open)
	if err != nil && ctx.Err() != nil {
		return r.CannotTell(err)
	}
	if err != nil {
		return fmt.Errorf("pod %s is sealed still, %s after custody was back (%s): %w", pod, trial.WholeTimeout, mode, err)
	}
	took := looks[len(looks)-1].At.Sub(healed)
	r.Measure(mode+"_unseal_ms", float64(took.Milliseconds()))
	if err := recovered(pod, mode, took, cmp.Or(r.Budget, recoverWithin)); err != nil {
		return err
	}
	if _, err := trial.AwaitWhole(ctx, r.Target); err != nil {
		return fmt.Errorf("%s after custody was back (%s) %w", trial.WholeTimeout, mode, err)
	}
	return nil
}

func recovered(pod, mode string, took, budget time.Duration) error {
	if took <= budget {
		return nil
	}
	return fmt.Errorf("pod %s was unsealed %s after custody was back (%s), budget %s", pod, trial.Round(took), mode, budget)
}

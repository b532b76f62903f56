package bootstrap

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/vaultproof/vaultproof/pkg/conformance"
	"github.com/vaultproof/vaultproof/pkg/fault"
	"github.com/vaultproof/vaultproof/pkg/target"
	"github.com/vaultproof/vaultproof/suites/trial"
)

const (
	// lookEvery is how often a pod that should not change is looked at.
	lookEvery = 500 * time.Millisecond
	// closeEvery is how often one is looked at whose change is timed.
	closeEvery = 50 * time.Millisecond
	// answerTimeout is how long a restarted pod may take until its Vault answers:
	// a graceful end, and a start behind the kubelet's back-off.
	answerTimeout = 90 * time.Second
	// maxLog is how much of a sidecar's log is read, in bytes.
	maxLog = 16 << 20
)

// calmStandbys are the standbys of a Vault that is whole, in an order that the seed
// decides. A check that disturbs one of them starts with this.
func calmStandbys(ctx context.Context, r *conformance.Case) ([]target.PodState, error) {
	if r.Target.SidecarContainer == "" {
		return nil, r.Skip("the pods of StatefulSet %s have no bootstrap container", r.Target.StatefulSet)
	}
	states, err := trial.AwaitWhole(ctx, r.Target)
	if err != nil {
		return nil, r.Inconclusive("a pod is only disturbed while all is well: %w", err)
	}
	var standbys []target.PodState
	for _, s := range states {
		if !s.IsSelf {
			standbys = append(standbys, s)
		}
	}
	if len(standbys) == 0 {
		return nil, r.Skip("there is no standby to disturb")
	}
	r.Rand.Shuffle(len(standbys), func(i, j int) { standbys[i], standbys[j] = standbys[j], standbys[i] })
	return standbys, nil
}

// replacePod deletes a pod and waits until its Vault's successor answers that it is
// sealed.
func replacePod(ctx context.Context, r *conformance.Case, pod string) error {
	injected, err := (&fault.PodDelete{Env: r.Faults, Pod: pod}).Inject(ctx)
	if err != nil {
		return r.CannotTell(err)
	}
	if _, err := trial.Witness(ctx, injected); err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, answerTimeout)
	defer cancel()
	_, err = r.Target.WatchSeal(ctx, pod, lookEvery, func(l target.SealLook) bool { return l.Sealed() || l.Open() })
	if err != nil {
		return r.Inconclusive("the Vault of the restarted pod %s did not answer in %s: %w", pod, answerTimeout, err)
	}
	return nil
}

// stay looks at a pod's seal for d.
func stay(ctx context.Context, r *conformance.Case, pod string, d time.Duration) ([]target.SealLook, error) {
	end := time.Now().Add(d)
	looks, err := r.Target.WatchSeal(ctx, pod, lookEvery, func(l target.SealLook) bool { return !l.At.Before(end) })
	return looks, r.CannotTell(err)
}

// staysSealed judges what a pod said of its seal all the while. It must have answered
// most of the time: silence shows nothing, and its error is errBlind.
func staysSealed(pod string, looks []target.SealLook) error {
	silent := 0
	var last target.SealLook
	for _, l := range looks {
		switch {
		case l.Err != nil:
			silent++
			last = l
		case !l.Status.Initialized:
			return fmt.Errorf("pod %s has lost its data: %s", pod, l)
		case !l.Status.Sealed:
			return fmt.Errorf("pod %s was unsealed: %s", pod, l)
		}
	}
	if 2*silent >= len(looks) {
		return fmt.Errorf("%w: pod %s answered %d of %d questions about its seal; of the last unanswered: %s", errBlind, pod, len(looks)-silent, len(looks), last)
	}
	return nil
}

// conclude makes a judgement that lacked what to judge by an inconclusive one.
func conclude(r *conformance.Case, err error) error {
	if errors.Is(err, errBlind) {
		return r.CannotTell(err)
	}
	return err
}

// ready is Kubernetes' word on a pod now.
func ready(ctx context.Context, t *target.Target, pod string) (bool, error) {
	now, err := t.Client.CoreV1().Pods(t.Namespace).Get(ctx, pod, metav1.GetOptions{})
	if err != nil {
		return false, fmt.Errorf("reading pod %s/%s: %w", t.Namespace, pod, err)
	}
	return target.PodReady(now), nil
}

// containerLog reads the present log of a container, from since on if that is set.
func containerLog(ctx context.Context, t *target.Target, pod, container string, since time.Time) (string, error) {
	options := &corev1.PodLogOptions{Container: container}
	if !since.IsZero() {
		options.SinceTime = &metav1.Time{Time: since}
	}
	stream, err := t.Client.CoreV1().Pods(t.Namespace).GetLogs(pod, options).Stream(ctx)
	if err != nil {
		return "", fmt.Errorf("opening the log of container %s in pod %s: %w", container, pod, err)
	}
	defer stream.Close()
	text, err := io.ReadAll(io.LimitReader(stream, maxLog))
	if err != nil {
		return "", fmt.Errorf("reading the log of container %s in pod %s: %w", container, pod, err)
	}
	return string(text), nil
}

// saysAll finds a line of a log that holds all the words, in any case.
func saysAll(log string, words ...string) bool {
	for line := range strings.Lines(strings.ToLower(log)) {
		all := true
		for _, w := range words {
			all = all && strings.Contains(line, strings.ToLower(w))
		}
		if all {
			return true
		}
	}
	return false
}

package fault

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/util/wait"
	"k8s.io/client-go/kubernetes"
)

// HoldAnnotation on a Vault pod tells its sidecar not to unseal it; the value is
// the reason.
const HoldAnnotation = "vaultproof.dev/hold"

// KindHold is a hold on a pod that must be taken away again.
const KindHold = "Hold"

var _ = undoneBy(KindHold, func(ctx context.Context, r *recovery, ref Ref) (bool, error) {
	return false, ReleaseHold(ctx, r.client, ref)
})

// sealedMessage is what Vault logs at the end of every seal.
const sealedMessage = "vault is sealed"

// HeldSeal seals the Vault of a pod as an operator does who wants it to stay
// closed: the hold comes first.
type HeldSeal struct {
	Env *Env
	Pod string
	// Seal asks this pod's Vault to seal itself. Vault takes that on the active
	// pod only.
	Seal func(context.Context) error
}

// Kind is held-seal.
func (f *HeldSeal) Kind() string { return "held-seal" }

// Target is the pod's name.
func (f *HeldSeal) Target() string { return f.Pod }

// reason is the hold's value. It names the run, so that only our own holds are
// ever taken away.
func reason(run string) string { return managedByValue + " run " + run }

// Inject sets the hold and seals.
func (f *HeldSeal) Inject(ctx context.Context) (Injected, error) {
	pods := f.Env.Client.CoreV1().Pods(f.Env.Namespace)
	pod, err := pods.Get(ctx, f.Pod, metav1.GetOptions{})
	if err != nil {
		return nil, fmt.Errorf("reading pod %s/%s before sealing it: %w", f.Env.Namespace, f.Pod, err)
	}
	if held, ok := pod.Annotations[HoldAnnotation]; ok {
		return nil, fmt.Errorf("%w: somebody holds pod %s already (%s: %s)", ErrUnavailable, f.Pod, HoldAnnotation, held)
	}
	s := &sealed{fault: f, ref: Ref{Kind: KindHold, Namespace: f.Env.Namespace, Name: f.Pod}}
	if f.Env.Journal != nil {
		if err := f.Env.Journal.Begin(s.ref); err != nil {
			return nil, err
		}
	}
	err = annotate(ctx, f.Env.Client, s.ref, reason(f.Env.RunID))
	s.at = time.Now()
	if err == nil {
		err = f.Seal(ctx)
	}
	if err != nil {
		return nil, errors.Join(fmt.Errorf("sealing pod %s with a hold: %w", f.Pod, err), s.Recover(context.WithoutCancel(ctx)))
	}
	return s, nil
}

type sealed struct {
	fault *HeldSeal
	ref   Ref
	at    time.Time
}

// Witness waits until the log of the pod's Vault says that it has sealed itself.
// The log keeps that even if it was unsealed at once.
func (s *sealed) Witness(ctx context.Context) (Witness, error) {
	env := s.fault.Env
	since := metav1.NewTime(s.at)
	seen := "the log was not read in time"
	var witness Witness
	err := wait.PollUntilContextCancel(ctx, pollEvery, true, func(ctx context.Context) (bool, error) {
		log, err := env.Client.CoreV1().Pods(env.Namespace).GetLogs(s.fault.Pod, &corev1.PodLogOptions{
			Container: env.Container, SinceTime: &since,
		}).Stream(ctx)
		if err != nil {
			if ctx.Err() == nil {
				seen = err.Error()
			}
			return false, nil // the deadline decides
		}
		defer log.Close()
		line, found := sealLine(log)
		seen = "its log since then does not say " + sealedMessage
		witness = Witness{Evidence: fmt.Sprintf("the log of container %s in pod %s: %s", env.Container, s.fault.Pod, line), At: time.Now()}
		return found, nil
	})
	if err != nil {
		return Witness{}, fmt.Errorf("%w: pod %s was asked to seal itself, but %s", ErrNoWitness, s.fault.Pod, seen)
	}
	return witness, nil
}

// sealLine finds Vault's word on its own sealing in a log, as JSON or as text.
func sealLine(log io.Reader) (line string, found bool) {
	lines := bufio.NewScanner(log)
	lines.Buffer(nil, 1<<20) // bytes
	for lines.Scan() {
		message := lines.Text()
		var entry struct {
			Message string `json:"@message"`
		}
		if json.Unmarshal(lines.Bytes(), &entry) == nil {
			message = entry.Message
		}
		if strings.HasSuffix(strings.TrimSpace(message), sealedMessage) {
			return strings.TrimSpace(lines.Text()), true
		}
	}
	return "", false
}

// Recover takes the hold away: unsealing is then the sidecar's business.
func (s *sealed) Recover(ctx context.Context) error {
	if err := ReleaseHold(ctx, s.fault.Env.Client, s.ref); err != nil {
		return err
	}
	if s.fault.Env.Journal != nil {
		return s.fault.Env.Journal.Done(s.ref)
	}
	return nil
}

// ReleaseHold undoes what a journal says of a KindHold. A hold that a person
// set is left alone.
func ReleaseHold(ctx context.Context, client kubernetes.Interface, ref Ref) error {
	pod, err := client.CoreV1().Pods(ref.Namespace).Get(ctx, ref.Name, metav1.GetOptions{})
	if apierrors.IsNotFound(err) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("reading pod %s/%s to take its hold away: %w", ref.Namespace, ref.Name, err)
	}
	if !strings.HasPrefix(pod.Annotations[HoldAnnotation], reason("")) {
		return nil
	}
	return annotate(ctx, client, ref, nil)
}

// annotate sets the hold; nil removes it.
func annotate(ctx context.Context, client kubernetes.Interface, ref Ref, value any) error {
	patch, err := json.Marshal(map[string]any{"metadata": map[string]any{"annotations": map[string]any{HoldAnnotation: value}}})
	if err != nil {
		return fmt.Errorf("encoding the hold of pod %s: %w", ref.Name, err)
	}
	_, err = client.CoreV1().Pods(ref.Namespace).Patch(ctx, ref.Name, types.MergePatchType, patch, metav1.PatchOptions{})
	if err != nil {
		return fmt.Errorf("changing the annotation %s of pod %s/%s: %w", HoldAnnotation, ref.Namespace, ref.Name, err)
	}
	return nil
}

package isolation

import (
	"context"
	"errors"
	"path/filepath"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	policyv1 "k8s.io/api/policy/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/kubernetes/fake"
	kubetesting "k8s.io/client-go/testing"

	"github.com/vaultproof/vaultproof/pkg/fault"
)

func standby(uid string, ready bool) *corev1.Pod {
	p := pod("vault", "vault-1", "b", "")
	p.UID = types.UID(uid)
	p.Spec.Containers = []corev1.Container{{Name: "vault"}}
	p.Status.Phase = corev1.PodRunning
	p.Status.ContainerStatuses = []corev1.ContainerStatus{{State: corev1.ContainerState{Running: &corev1.ContainerStateRunning{}}}}
	if ready {
		p.Status.Conditions = []corev1.PodCondition{{Type: corev1.PodReady, Status: corev1.ConditionTrue}}
	}
	return &p
}

func evictorOf(objects ...runtime.Object) (evictor, *fake.Clientset) {
	client := fake.NewClientset(objects...)
	return evictor{client: client, namespace: "vault", run: "r1"}, client
}

func TestDryRunEvictsNobody(t *testing.T) {
	e, client := evictorOf()
	var answer error
	asked := 0
	client.PrependReactor("create", "pods", func(action kubetesting.Action) (bool, runtime.Object, error) {
		asked++
		wanted := action.(kubetesting.CreateAction).GetObject().(*policyv1.Eviction)
		if options := wanted.DeleteOptions; action.GetSubresource() != "eviction" || options == nil || len(options.DryRun) != 1 || options.DryRun[0] != metav1.DryRunAll || *options.Preconditions.UID != "u1" {
			t.Errorf("a pod was really evicted: %+v", wanted)
		}
		if answer != nil && asked > 1 && strings.Contains(answer.Error(), "for a moment") {
			return true, nil, nil
		}
		return true, nil, answer
	})
	if said, err := e.dryRun(t.Context(), standby("u1", true), whole); err != nil || said.refusal != "" || said.pod != "vault-1" || said.when != whole {
		t.Errorf("admitted: %+v (%v)", said, err)
	}
	answer = apierrors.NewTooManyRequests("Cannot evict pod", 0)
	if said, err := e.dryRun(t.Context(), standby("u1", true), whole); err != nil || said.refusal == "" {
		t.Errorf("refused: %+v (%v)", said, err)
	}
	answer = apierrors.NewInternalError(errors.New("more than one PodDisruptionBudget"))
	_, err := e.dryRun(t.Context(), standby("u1", true), whole)
	says(t, "neither", err, "eviction of pod vault-1", "more than one")
	_, err = e.dryRunInTime(t.Context(), standby("u1", true), whole)
	says(t, "neither, in time", err, "more than one")

	asked, answer = 0, apierrors.NewTooManyRequests("for a moment", 0)
	if said, err := e.dryRunInTime(t.Context(), standby("u1", true), whole); err != nil || said.refusal != "" || asked != 2 {
		t.Errorf("refused for a moment: %+v (%v) after %d questions", said, err, asked)
	}
	answer = apierrors.NewTooManyRequests("for ever", 0)
	ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
	defer cancel()
	if said, err := e.dryRunInTime(ctx, standby("u1", true), whole); err != nil || !strings.Contains(said.refusal, "for ever") {
		t.Errorf("refused for ever: %+v (%v)", said, err)
	}
}

// succeed puts another pod into the place of one that is deleted.
func succeed(t *testing.T, client *fake.Clientset, successor *corev1.Pod) {
	t.Helper()
	client.PrependReactor("delete", "pods", func(kubetesting.Action) (bool, runtime.Object, error) {
		pods := corev1.SchemeGroupVersion.WithResource("pods")
		if err := client.Tracker().Delete(pods, "vault", "vault-1"); err != nil {
			return true, nil, err
		}
		return true, nil, client.Tracker().Create(pods, successor, "vault")
	})
}

func TestRestartSealed(t *testing.T) {
	e, client := evictorOf(standby("old", true))
	succeed(t, client, standby("new", false))
	path := filepath.Join(t.TempDir(), fault.JournalFile)
	journal, err := fault.OpenJournal(path, "r1")
	if err != nil {
		t.Fatal(err)
	}
	defer journal.Close()
	e.journal = journal
	closed, err := e.restartSealed(t.Context(), standby("old", true))
	if err != nil {
		t.Fatal(err)
	}
	if closed.UID != "new" || closed.Annotations[fault.HoldAnnotation] != "vaultproof run r1" {
		t.Errorf("pod %s is held by %q", closed.UID, closed.Annotations[fault.HoldAnnotation])
	}
	says(t, "still closed", e.stillClosed(t.Context(), closed))
	for range 2 { // it may be called again
		says(t, "released", e.release(t.Context(), "vault-1"))
	}
	now, err := client.CoreV1().Pods("vault").Get(t.Context(), "vault-1", metav1.GetOptions{})
	if err != nil || now.Annotations[fault.HoldAnnotation] != "" {
		t.Errorf("the hold is left: %v (%v)", now.Annotations, err)
	}
}

func TestRestartSealedThatDoesNotWork(t *testing.T) {
	e, client := evictorOf(standby("old", true))
	successor := standby("new", true)
	successor.Annotations = map[string]string{fault.HoldAnnotation: "somebody's"}
	succeed(t, client, successor)
	_, err := e.restartSealed(t.Context(), standby("old", true))
	says(t, "unsealed at once", err, "unsealed in spite of the hold")

	ctx, cancel := context.WithTimeout(t.Context(), 200*time.Millisecond)
	defer cancel()
	e, client = evictorOf(standby("old", true))
	client.PrependReactor("delete", "pods", func(kubetesting.Action) (bool, runtime.Object, error) { return true, nil, nil })
	_, err = e.restartSealed(ctx, standby("old", true))
	says(t, "never gone", err, "still terminating")

	e, _ = evictorOf()
	_, err = e.restartSealed(t.Context(), standby("old", true))
	says(t, "gone before", err, "deleting pod vault/vault-1")
}

func TestStillClosed(t *testing.T) {
	for name, now := range map[string]*corev1.Pod{"unsealed": standby("new", true), "another pod": standby("newer", false)} {
		e, _ := evictorOf(now)
		says(t, name, e.stillClosed(t.Context(), standby("new", false)), "did not stay sealed")
	}
	e, _ := evictorOf()
	says(t, "gone", e.stillClosed(t.Context(), standby("new", false)), "vault/vault-1")
}

func TestAllStarted(t *testing.T) {
	if !allStarted(standby("u", false)) {
		t.Error("a running pod has not started")
	}
	pending, waiting := standby("u", false), standby("u", false)
	pending.Status.Phase = corev1.PodPending
	waiting.Status.ContainerStatuses[0].State.Running = nil
	for _, p := range []*corev1.Pod{pending, waiting} {
		if allStarted(p) {
			t.Errorf("pod %+v passes for started", p.Status)
		}
	}
}

func TestAwaitSpent(t *testing.T) {
	b := budgetOf("vault", vaultLabels, nil)
	e, _ := evictorOf(&b)
	says(t, "spent", e.awaitSpent(t.Context(), "vault"))
	b.Status = policyv1.PodDisruptionBudgetStatus{DisruptionsAllowed: 1, CurrentHealthy: 3, ExpectedPods: 3}
	e, _ = evictorOf(&b)
	ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
	defer cancel()
	says(t, "not counted", e.awaitSpent(ctx, "vault"), "3 healthy of 3 and 1 disruptions allowed")
}

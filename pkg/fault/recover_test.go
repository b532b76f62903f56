package fault

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/chaos-mesh/chaos-mesh/api/v1alpha1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/client-go/kubernetes/fake"
	ctrl "sigs.k8s.io/controller-runtime/pkg/client"
	ctrlfake "sigs.k8s.io/controller-runtime/pkg/client/fake"

	"github.com/vaultproof/vaultproof/pkg/custody"
)

func labelled(name string, labels map[string]string) metav1.ObjectMeta {
	return metav1.ObjectMeta{Namespace: "vault", Name: name, Labels: labels}
}

func chaosScheme(t *testing.T) *runtime.Scheme {
	t.Helper()
	s := runtime.NewScheme()
	if err := v1alpha1.AddToScheme(s); err != nil {
		t.Fatal(err)
	}
	return s
}

var (
	ofARun = map[string]string{managedBy: managedByValue, runLabel: "r1"}
	ours   = map[string]string{managedBy: managedByValue} // the stack's own
)

func TestRecoverTakesWhatIsOursAndNothingElse(t *testing.T) {
	dir := t.TempDir()
	if err := os.Mkdir(filepath.Join(dir, "r1"), 0o755); err != nil {
		t.Fatal(err)
	}
	journal, err := OpenJournal(filepath.Join(dir, "r1", JournalFile), "r1")
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"journalled", "foreign", "gone"} {
		if err := journal.Begin(Ref{Kind: v1alpha1.KindNetworkChaos, Namespace: "vault", Name: name}); err != nil {
			t.Fatal(err)
		}
	}
	journal.Close()

	chaos := ctrlfake.NewClientBuilder().WithScheme(chaosScheme(t)).WithObjects(
		&v1alpha1.NetworkChaos{ObjectMeta: labelled("journalled", ours)},
		&v1alpha1.NetworkChaos{ObjectMeta: labelled("foreign", nil)},
		&v1alpha1.PodChaos{ObjectMeta: labelled("left", ofARun)},
		&v1alpha1.PodChaos{ObjectMeta: labelled("others", map[string]string{runLabel: "r1"})},
	).Build()
	client := fake.NewClientset(
		&corev1.Pod{ObjectMeta: labelled("twin", ofARun)},
		&corev1.Pod{ObjectMeta: labelled("vault-0", ours)},
		&corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: "probes", Labels: ofARun}},
		&corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: "vaultproof-capture-r1", Labels: ofARun}},
		&corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: "vaultproof-capture-of-somebody"}},
		&corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: "vault", Labels: ours}},
	)
	done, err := (&recovery{client: client, chaos: chaos}).all(t.Context(), dir)
	if err == nil || !strings.Contains(err.Error(), "vault/foreign does not bear the label") {
		t.Errorf("error %v, want one about the object that is not ours", err)
	}
	want := []string{"NetworkChaos vault/journalled", "PodChaos vault/left", "Pod vault/twin", "Namespace probes", "Namespace vaultproof-capture-r1"}
	if !slices.Equal(done.Removed, want) {
		t.Errorf("removed %v, want %v", done.Removed, want)
	}
	for _, name := range []string{"foreign"} {
		if err := chaos.Get(t.Context(), ctrl.ObjectKey{Namespace: "vault", Name: name}, &v1alpha1.NetworkChaos{}); err != nil {
			t.Errorf("%s is gone: %v", name, err)
		}
	}
	if _, err := client.CoreV1().Pods("vault").Get(t.Context(), "vault-0", metav1.GetOptions{}); err != nil {
		t.Errorf("a pod of the stack is gone: %v", err)
	}
	for _, name := range []string{"vault", "vaultproof-capture-of-somebody"} {
		if _, err := client.CoreV1().Namespaces().Get(t.Context(), name, metav1.GetOptions{}); err != nil {
			t.Errorf("namespace %s, which is of no run, is gone: %v", name, err)
		}
	}
	file, err := os.Open(filepath.Join(dir, "r1", JournalFile))
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	if open, err := Open(file); err != nil || len(open) != 1 || open[0].Ref.Name != "foreign" {
		t.Errorf("open entries %v (%v), want the one that could not be undone", open, err)
	}
}

func TestRecoverWithoutAnythingLeft(t *testing.T) {
	chaos := ctrlfake.NewClientBuilder().WithScheme(chaosScheme(t)).Build()
	done, err := (&recovery{client: fake.NewClientset(), chaos: chaos}).all(t.Context(), t.TempDir())
	if err != nil || len(done.Removed) != 0 {
		t.Errorf("removed %v, error %v", done.Removed, err)
	}
}

func TestNothingIsInjectedWithoutARecord(t *testing.T) {
	journal, err := OpenJournal(filepath.Join(t.TempDir(), JournalFile), "r")
	if err != nil {
		t.Fatal(err)
	}
	journal.Close() // as if the disk were gone
	chaos := ctrlfake.NewClientBuilder().WithScheme(chaosScheme(t)).Build()
	env := &Env{Chaos: chaos, Namespace: "vault", RunID: "r", Journal: journal}
	object := &v1alpha1.PodChaos{ObjectMeta: env.objectMeta("kill", "vault-0")}
	if _, err := env.create(t.Context(), object); err == nil {
		t.Error("created without a record")
	}
	var list v1alpha1.PodChaosList
	if err := chaos.List(t.Context(), &list); err != nil || len(list.Items) != 0 {
		t.Errorf("%d objects exist (%v), want none", len(list.Items), err)
	}
}

func TestFaultsAreRefusedBeforeTheyStart(t *testing.T) {
	running := corev1.ContainerStatus{Name: "vault", ContainerID: "containerd://a", State: corev1.ContainerState{Running: &corev1.ContainerStateRunning{}}}
	pod := &corev1.Pod{ObjectMeta: labelled("vault-0", nil), Spec: corev1.PodSpec{NodeName: "n"}, Status: corev1.PodStatus{ContainerStatuses: []corev1.ContainerStatus{running}}}
	env := &Env{Client: fake.NewClientset(pod), Chaos: ctrlfake.NewClientBuilder().WithScheme(chaosScheme(t)).Build(), Namespace: "vault", Container: "vault", RunID: "r"}
	for name, f := range map[string]Fault{
		"no daemon for a kill":      &ProcessKill{Env: env, Pod: "vault-0"},
		"no daemon for a partition": &ZonePartition{Env: env, Zone: "a", Inside: []string{"vault-0"}, Outside: []string{"vault-1"}},
		"nobody outside":            &ZonePartition{Env: env, Zone: "a", Inside: []string{"vault-0"}},
		"no such container":         &ProcessKill{Env: &Env{Client: env.Client, Namespace: "vault", Container: "other"}, Pod: "vault-0"},
	} {
		if _, err := f.Inject(t.Context()); !errors.Is(err, ErrUnavailable) {
			t.Errorf("%s: %v, want ErrUnavailable", name, err)
		}
	}
}

func TestAHangingFinalizerIsStrippedAndTold(t *testing.T) {
	object := &v1alpha1.NetworkChaos{ObjectMeta: labelled("stuck", ofARun)}
	object.Finalizers = []string{"chaos-mesh/records"}
	chaos := ctrlfake.NewClientBuilder().WithScheme(chaosScheme(t)).WithObjects(object).Build()
	old := stripAfter
	stripAfter = 3 * pollEvery
	t.Cleanup(func() { stripAfter = old })
	err := remove(t.Context(), chaos, object, Ref{Kind: "NetworkChaos", Namespace: "vault", Name: "stuck"})
	if !errors.Is(err, ErrStripped) {
		t.Errorf("error %v, want ErrStripped", err)
	}
	if err := chaos.Get(t.Context(), ctrl.ObjectKeyFromObject(object), object); ctrl.IgnoreNotFound(err) != nil || err == nil {
		t.Errorf("the object is there still (%v)", err)
	}
}

func TestPodDeleteHasItsWitness(t *testing.T) {
	pod := &corev1.Pod{ObjectMeta: labelled("vault-0", nil)}
	pod.UID = "old"
	env := &Env{Client: fake.NewClientset(pod), Namespace: "vault"}
	injected, err := (&PodDelete{Env: env, Pod: "vault-0"}).Inject(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if w, err := injected.Witness(t.Context()); err != nil || !strings.Contains(w.Evidence, "UID old is gone") {
		t.Errorf("witness %q (%v)", w.Evidence, err)
	}
	stays := &podDeleted{fault: &PodDelete{Env: &Env{Client: fake.NewClientset(pod), Namespace: "vault"}, Pod: "vault-0"}, uid: "old"}
	ctx, cancel := context.WithTimeout(t.Context(), 2*pollEvery)
	defer cancel()
	if _, err := stays.Witness(ctx); !errors.Is(err, ErrNoWitness) {
		t.Errorf("a pod that stays: %v, want ErrNoWitness", err)
	}
}

// A process that hangs when it is told to stop takes its whole grace period,
// and the fault has hit all the same.
func TestPodDeleteWaitsForTheGracePeriod(t *testing.T) {
	grace := int64(45)
	pod := &corev1.Pod{ObjectMeta: metav1.ObjectMeta{Name: "vault-0", Namespace: "vault", UID: "old"}}
	for want, seconds := range map[time.Duration]*int64{75 * time.Second: &grace, 60 * time.Second: nil} {
		pod.Spec.TerminationGracePeriodSeconds = seconds
		env := &Env{Client: fake.NewClientset(pod.DeepCopy()), Namespace: "vault"}
		injected, err := (&PodDelete{Env: env, Pod: "vault-0"}).Inject(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		patient, ok := injected.(Patient)
		if !ok || patient.Patience() != want {
			t.Errorf("a deleted pod with grace period %v asks for patience %v, want %s", seconds, patient, want)
		}
	}
}

// leftBy is the folder of journals after a run that died when it had done ref.
func leftBy(t *testing.T, ref Ref) string {
	t.Helper()
	dir := t.TempDir()
	if err := os.Mkdir(filepath.Join(dir, "r1"), 0o755); err != nil {
		t.Fatal(err)
	}
	journal, err := OpenJournal(filepath.Join(dir, "r1", JournalFile), "r1")
	if err != nil {
		t.Fatal(err)
	}
	defer journal.Close()
	if err := journal.Begin(ref); err != nil {
		t.Fatal(err)
	}
	return dir
}

// What was disabled in custody is enabled again, or it is told what to enable.
func TestRecoverEnablesVersions(t *testing.T) {
	dir := leftBy(t, Ref{Kind: KindSecretVersion, Namespace: "share-0", Name: "1"})
	chaos := ctrlfake.NewClientBuilder().WithScheme(chaosScheme(t)).Build()
	r := &recovery{client: fake.NewClientset(), chaos: chaos}
	if _, err := r.all(t.Context(), dir); err == nil || !strings.Contains(err.Error(), "enable version 1 of secret share-0") {
		t.Errorf("without custody: %v, want to be told what to enable", err)
	}
	store := twoShares()
	r = &recovery{client: fake.NewClientset(), chaos: chaos, means: Means{Versions: store}}
	if _, err := r.all(t.Context(), dir); err != nil || store.state["share-0"][1].State != custody.Enabled {
		t.Errorf("versions %v (%v), want number 1 enabled", store.state["share-0"], err)
	}
}

func TestRecoverReleasesHolds(t *testing.T) {
	dir := leftBy(t, Ref{Kind: KindHold, Namespace: "vault", Name: "vault-0"})
	pod := &corev1.Pod{ObjectMeta: labelled("vault-0", nil)}
	pod.Annotations = map[string]string{HoldAnnotation: reason("r1")}
	client := fake.NewClientset(pod)
	chaos := ctrlfake.NewClientBuilder().WithScheme(chaosScheme(t)).Build()
	_, err := (&recovery{client: client, chaos: chaos}).all(t.Context(), dir)
	now, getErr := client.CoreV1().Pods("vault").Get(t.Context(), "vault-0", metav1.GetOptions{})
	if err != nil || getErr != nil || now.Annotations[HoldAnnotation] != "" {
		t.Errorf("annotations %v (%v, %v), want no hold", now.Annotations, err, getErr)
	}
}

package fault

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	policyv1 "k8s.io/api/policy/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/kubernetes/fake"
	k8stesting "k8s.io/client-go/testing"
	ctrlfake "sigs.k8s.io/controller-runtime/pkg/client/fake"
)

// ownedPod is a pod on node n that a controller of the kind given replaces.
func ownedPod(name, kind string) *corev1.Pod {
	yes := true
	pod := &corev1.Pod{ObjectMeta: labelled(name, nil), Spec: corev1.PodSpec{NodeName: "n"}}
	pod.UID = types.UID("uid-of-" + name)
	pod.OwnerReferences = []metav1.OwnerReference{{APIVersion: "apps/v1", Kind: kind, Name: "owner", Controller: &yes}}
	return pod
}

// evictingCluster has a node n, and an API server that refuses so many evictions as a
// budget without room would.
func evictingCluster(t *testing.T, refusals int, objects ...runtime.Object) *fake.Clientset {
	t.Helper()
	client := fake.NewClientset(append(objects, &appsv1.DaemonSet{ObjectMeta: labelled("owner", nil)})...)
	client.Resources = []*metav1.APIResourceList{{GroupVersion: "v1", APIResources: []metav1.APIResource{
		{Name: "pods/eviction", Kind: "Eviction", Group: "policy", Version: "v1"},
	}}}
	client.PrependReactor("create", "pods", func(a k8stesting.Action) (bool, runtime.Object, error) {
		if a.GetSubresource() != "eviction" {
			return false, nil, nil
		}
		eviction := a.(k8stesting.CreateAction).GetObject().(*policyv1.Eviction)
		if eviction.Name == "guarded" {
			return true, nil, apierrors.NewForbidden(policyv1.Resource("evictions"), eviction.Name, errors.New("no right to evict"))
		}
		if refusals > 0 {
			refusals--
			return true, nil, apierrors.NewTooManyRequests("Cannot evict pod as it would violate the pod's disruption budget.", 1)
		}
		if len(eviction.DeleteOptions.DryRun) > 0 {
			return true, nil, nil
		}
		return true, nil, client.Tracker().Delete(corev1.SchemeGroupVersion.WithResource("pods"), eviction.Namespace, eviction.Name)
	})
	return client
}

func nodeN() *corev1.Node { return &corev1.Node{ObjectMeta: metav1.ObjectMeta{Name: "n"}} }

func readNode(t *testing.T, client *fake.Clientset) *corev1.Node {
	t.Helper()
	node, err := client.CoreV1().Nodes().Get(t.Context(), "n", metav1.GetOptions{})
	if err != nil {
		t.Fatal(err)
	}
	return node
}

// openEntries reads what a journal still has to undo.
func openEntries(t *testing.T, path string) []Entry {
	t.Helper()
	file, err := os.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	entries, err := Open(file)
	if err != nil {
		t.Fatal(err)
	}
	return entries
}

func TestDrainEvictsAndUncordons(t *testing.T) {
	client := evictingCluster(t, 2, nodeN(), ownedPod("vault-0", "StatefulSet"), ownedPod("daemon", "DaemonSet"))
	path := filepath.Join(t.TempDir(), JournalFile)
	journal, err := OpenJournal(path, "r1")
	if err != nil {
		t.Fatal(err)
	}
	defer journal.Close()
	env := &Env{Client: client, Namespace: "vault", RunID: "r1", Journal: journal}
	injected, err := (&NodeDrain{Env: env, Node: "n"}).Inject(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if open := openEntries(t, path); len(open) != 1 || open[0].Ref != (Ref{Kind: KindCordon, Name: "n"}) {
		t.Errorf("open in the journal is %v, want the cordon", open)
	}
	witness, err := injected.Witness(t.Context())
	if err != nil || !strings.Contains(witness.Evidence, "gone from it are vault/vault-0") {
		t.Errorf("witness %q (%v)", witness.Evidence, err)
	}
	if _, err := client.CoreV1().Pods("vault").Get(t.Context(), "daemon", metav1.GetOptions{}); err != nil {
		t.Errorf("the pod of a DaemonSet: %v", err)
	}
	if node := readNode(t, client); !node.Spec.Unschedulable {
		t.Error("the node is schedulable during the drain")
	}
	if err := injected.Recover(t.Context()); err != nil {
		t.Fatal(err)
	}
	if node := readNode(t, client); node.Spec.Unschedulable || len(node.Annotations) > 0 {
		t.Errorf("unschedulable %v, annotations %v after the drain, want the node as it was", node.Spec.Unschedulable, node.Annotations)
	}
	if open := openEntries(t, path); len(open) != 0 {
		t.Errorf("open in the journal is %v, want nothing", open)
	}
}

func TestADrainThatIsRefusedHasNoWitness(t *testing.T) {
	client := evictingCluster(t, 1000, nodeN(), ownedPod("vault-0", "StatefulSet"))
	injected, err := (&NodeDrain{Env: &Env{Client: client, Namespace: "vault", RunID: "r1"}, Node: "n"}).Inject(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 2*pollEvery)
	defer cancel()
	_, err = injected.Witness(ctx)
	for _, want := range []string{"still has vault/vault-0", "disruption budget"} {
		if !errors.Is(err, ErrNoWitness) || !strings.Contains(err.Error(), want) {
			t.Errorf("%v, want ErrNoWitness with %q", err, want)
		}
	}
	if err := injected.Recover(t.Context()); err != nil {
		t.Fatal(err)
	}
	if readNode(t, client).Spec.Unschedulable {
		t.Error("the node stays cordoned")
	}
}

func TestEmptied(t *testing.T) {
	cordoned := nodeN()
	cordoned.Spec.Unschedulable = true
	old := corev1.Pod{ObjectMeta: metav1.ObjectMeta{Name: "vault-0", UID: "a"}}
	successor := corev1.Pod{ObjectMeta: metav1.ObjectMeta{Name: "vault-0", UID: "b"}}
	for name, c := range map[string]struct {
		node *corev1.Node
		now  []corev1.Pod
		want bool
	}{
		"emptied":                   {cordoned, nil, true},
		"another pod of that name":  {cordoned, []corev1.Pod{successor}, true},
		"the pod is there still":    {cordoned, []corev1.Pod{old}, false},
		"gone, but not by a cordon": {nodeN(), nil, false},
	} {
		if evidence, got := emptied(c.node, []corev1.Pod{old}, c.now); got != c.want {
			t.Errorf("%s: witness %v, want %v (%s)", name, got, c.want, evidence)
		}
	}
}

func TestDrainIsRefusedBeforeItStarts(t *testing.T) {
	theirs := nodeN()
	theirs.Spec.Unschedulable = true
	bare := &corev1.Pod{ObjectMeta: labelled("bare", nil), Spec: corev1.PodSpec{NodeName: "n"}}
	noEviction := evictingCluster(t, 0, nodeN(), ownedPod("vault-0", "StatefulSet"))
	noEviction.Resources = []*metav1.APIResourceList{{GroupVersion: "v1"}}
	for name, c := range map[string]struct {
		client *fake.Clientset
		want   string
	}{
		"cordoned already":  {evictingCluster(t, 0, theirs, ownedPod("vault-0", "StatefulSet")), "by somebody else"},
		"a pod of nobody":   {evictingCluster(t, 0, nodeN(), ownedPod("vault-0", "StatefulSet"), bare), "vault/bare"},
		"nothing to evict":  {evictingCluster(t, 0, nodeN(), ownedPod("daemon", "DaemonSet")), "no pod on node n"},
		"no eviction there": {noEviction, "pods/eviction"},
		"nobody may evict":  {evictingCluster(t, 0, nodeN(), ownedPod("guarded", "StatefulSet")), "no right to evict"},
	} {
		_, err := (&NodeDrain{Env: &Env{Client: c.client, Namespace: "vault", RunID: "r1"}, Node: "n"}).Inject(t.Context())
		if !errors.Is(err, ErrUnavailable) || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %v, want ErrUnavailable with %q", name, err, c.want)
		}
		if node := readNode(t, c.client); len(node.Annotations) > 0 {
			t.Errorf("%s: the node was touched: %v", name, node.Annotations)
		}
	}
}

func TestRecoverUncordonsWhatARunCordoned(t *testing.T) {
	for by, want := range map[string]bool{reason("r1"): false, "": true} {
		node := nodeN()
		node.Spec.Unschedulable = true
		if by != "" {
			node.Annotations = map[string]string{cordonAnnotation: by}
		}
		client := fake.NewClientset(node)
		chaos := ctrlfake.NewClientBuilder().WithScheme(chaosScheme(t)).Build()
		dir := leftBy(t, Ref{Kind: KindCordon, Name: "n"})
		done, err := (&recovery{client: client, chaos: chaos}).all(t.Context(), dir)
		if got := readNode(t, client).Spec.Unschedulable; err != nil || got != want || (len(done.Removed) == 1) == want {
			t.Errorf("a node cordoned by %q is unschedulable %v (%v, undone %v), want %v", by, got, err, done.Removed, want)
		}
	}
	gone, err := uncordon(t.Context(), fake.NewClientset(), Ref{Kind: KindCordon, Name: "n"})
	if gone || err != nil {
		t.Errorf("a node that is gone: %v, %v", gone, err)
	}
}

// An API server that takes the cordon and loses its answer must not leave it behind.
func TestACordonWithoutAnswerIsTakenBack(t *testing.T) {
	client := evictingCluster(t, 0, nodeN(), ownedPod("vault-0", "StatefulSet"))
	lost := errors.New("connection reset by peer")
	client.PrependReactor("patch", "nodes", func(k8stesting.Action) (bool, runtime.Object, error) {
		if lost == nil {
			return false, nil, nil
		}
		node := nodeN()
		node.Spec.Unschedulable, node.Annotations = true, map[string]string{cordonAnnotation: reason("r1")}
		err := errors.Join(lost, client.Tracker().Update(corev1.SchemeGroupVersion.WithResource("nodes"), node, ""))
		lost = nil
		return true, nil, err
	})
	path := filepath.Join(t.TempDir(), JournalFile)
	journal, err := OpenJournal(path, "r1")
	if err != nil {
		t.Fatal(err)
	}
	defer journal.Close()
	_, err = (&NodeDrain{Env: &Env{Client: client, Namespace: "vault", RunID: "r1", Journal: journal}, Node: "n"}).Inject(t.Context())
	if err == nil || errors.Is(err, ErrUnavailable) {
		t.Errorf("%v, want the lost answer", err)
	}
	if readNode(t, client).Spec.Unschedulable || len(openEntries(t, path)) > 0 {
		t.Error("the node stays cordoned, or the journal says so")
	}
}

func TestADrainLeavesTimeForTheSlowestPod(t *testing.T) {
	grace := int64(45)
	pod := ownedPod("vault-0", "StatefulSet")
	pod.Spec.TerminationGracePeriodSeconds = &grace
	if got := (&draining{pods: []corev1.Pod{*pod}}).Patience(); got != evictTimeout+45*time.Second {
		t.Errorf("patience %s", got)
	}
}

package fault

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"

	"github.com/chaos-mesh/chaos-mesh/api/v1alpha1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"
	ctrl "sigs.k8s.io/controller-runtime/pkg/client"
)

// Kinds in a journal beside those of Chaos Mesh.
const (
	KindPod       = "Pod"
	KindNamespace = "Namespace"
	KindNode      = "Node"  // one that was turned off
	KindRole      = "Role"  // one whose rules were cut
	KindLabel     = "Label" // of a pod, named POD/LABEL
)

// leftovers selects what a run created for itself, and nothing else.
const leftovers = managedBy + "=" + managedByValue + "," + runLabel

// Recovered tells what Recover did.
type Recovered struct {
	// Removed lists what was there and is gone, or was put right.
	Removed []string
}

// Means are what undoing takes besides the Kubernetes API. What is nil is not
// to be had; an entry of a journal that needs it is then an error that names it.
type Means struct {
	Power    NodePower // turns nodes on again
	Versions Versions  // enables versions in custody again
}

// Recover undoes what earlier runs left behind: the open entries of every
// journal under journalDir (one directory per run), then whatever bears the
// label of a run: chaos objects, pods and namespaces. It touches nothing else,
// and carries on after an error to undo what it can.
func Recover(ctx context.Context, config *rest.Config, journalDir string, means Means) (Recovered, error) {
	client, err := kubernetes.NewForConfig(config)
	if err != nil {
		return Recovered{}, fmt.Errorf("preparing a client to recover: %w", err)
	}
	chaos, err := chaosClient(config)
	if err != nil {
		return Recovered{}, err
	}
	return (&recovery{client: client, chaos: chaos, means: means}).all(ctx, journalDir)
}

func (r *recovery) all(ctx context.Context, journalDir string) (Recovered, error) {
	r.fail(r.journals(ctx, journalDir))
	r.fail(r.sweepChaos(ctx, &v1alpha1.NetworkChaosList{}))
	r.fail(r.sweepChaos(ctx, &v1alpha1.PodChaosList{}))
	r.fail(r.sweepPods(ctx))
	r.fail(r.sweepNamespaces(ctx))
	return r.done, errors.Join(r.errs...)
}

type recovery struct {
	client kubernetes.Interface
	chaos  ctrl.Client
	means  Means
	done   Recovered
	errs   []error
}

func (r *recovery) fail(err error) {
	if err != nil {
		r.errs = append(r.errs, err)
	}
}

func (r *recovery) removed(ref Ref) {
	r.done.Removed = append(r.done.Removed, ref.String())
	slog.Info("undid what an earlier run left behind", "object", ref.String())
}

// journals undoes the open entries of all runs and marks them done.
func (r *recovery) journals(ctx context.Context, dir string) error {
	paths, err := filepath.Glob(filepath.Join(dir, "*", JournalFile))
	if err != nil {
		return fmt.Errorf("looking for journals in %s: %w", dir, err)
	}
	for _, path := range paths {
		r.fail(r.journal(ctx, path))
	}
	return nil
}

func (r *recovery) journal(ctx context.Context, path string) error {
	file, err := os.Open(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("opening a journal: %w", err)
	}
	entries, err := Open(file)
	file.Close()
	r.fail(err) // what could be read is undone all the same
	if len(entries) == 0 {
		return nil
	}
	journal, err := OpenJournal(path, entries[0].Run)
	if err != nil {
		return err
	}
	defer journal.Close()
	for _, e := range entries {
		if err := r.undo(ctx, e.Ref); err != nil {
			r.fail(fmt.Errorf("undoing %s of run %s: %w", e.Ref, e.Run, err))
			if !errors.Is(err, ErrStripped) {
				continue
			}
		}
		r.fail(journal.Done(e.Ref))
	}
	return nil
}

// undo removes one object, if it is there and bears our label: a name in a file
// is not enough to delete something.
func (r *recovery) undo(ctx context.Context, ref Ref) error {
	switch ref.Kind {
	case v1alpha1.KindPodChaos:
		return r.removeChaos(ctx, &v1alpha1.PodChaos{ObjectMeta: metav1.ObjectMeta{Namespace: ref.Namespace, Name: ref.Name}}, ref)
	case v1alpha1.KindNetworkChaos:
		return r.removeChaos(ctx, &v1alpha1.NetworkChaos{ObjectMeta: metav1.ObjectMeta{Namespace: ref.Namespace, Name: ref.Name}}, ref)
	case KindPod, KindNamespace:
		return nil // the sweep by labels takes these
	case KindNode:
		return r.turnOn(ctx, ref)
	case KindRole:
		restored, err := restoreRole(ctx, r.client, ref)
		return r.tell(ref, restored, err)
	case KindHold:
		return ReleaseHold(ctx, r.client, ref)
	case KindSecretVersion:
		if r.means.Versions == nil {
			return fmt.Errorf("%s was disabled in custody, which cannot be reached from here: enable version %s of secret %s", ref, ref.Name, ref.Namespace)
		}
		return EnableVersion(ctx, r.means.Versions, ref)
	case KindLabel:
		repaired, err := untamper(ctx, r.client, ref)
		return r.tell(ref, repaired, err)
	default:
		return fmt.Errorf("the journal names a kind that is not known: %s", ref.Kind)
	}
}

// tell notes what was put right.
func (r *recovery) tell(ref Ref, changed bool, err error) error {
	if changed {
		r.removed(ref)
	}
	return err
}

// turnOn turns a node on that an earlier run turned off.
func (r *recovery) turnOn(ctx context.Context, ref Ref) error {
	if r.means.Power == nil {
		return fmt.Errorf("%s was turned off, and nobody here can turn it on: start its machine", ref)
	}
	running, err := r.means.Power.State(ctx, ref.Name)
	if err != nil || running {
		return err
	}
	return r.tell(ref, true, r.means.Power.On(ctx, ref.Name))
}

func (r *recovery) removeChaos(ctx context.Context, object ctrl.Object, ref Ref) error {
	err := r.chaos.Get(ctx, ctrl.ObjectKeyFromObject(object), object)
	if apierrors.IsNotFound(err) || meta.IsNoMatchError(err) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("reading %s: %w", ref, err)
	}
	if object.GetLabels()[managedBy] != managedByValue {
		return fmt.Errorf("%s does not bear the label %s=%s, so it is left alone", ref, managedBy, managedByValue)
	}
	err = remove(ctx, r.chaos, object, ref)
	if err == nil || errors.Is(err, ErrStripped) {
		r.removed(ref)
	}
	return err
}

func (r *recovery) sweepChaos(ctx context.Context, list ctrl.ObjectList) error {
	selector, err := metav1.ParseToLabelSelector(leftovers)
	if err != nil {
		return fmt.Errorf("parsing the selector of leftovers: %w", err)
	}
	labels, err := metav1.LabelSelectorAsSelector(selector)
	if err != nil {
		return fmt.Errorf("parsing the selector of leftovers: %w", err)
	}
	err = r.chaos.List(ctx, list, ctrl.MatchingLabelsSelector{Selector: labels})
	if meta.IsNoMatchError(err) || apierrors.IsNotFound(err) {
		return nil // no Chaos Mesh, nothing of it left
	}
	if err != nil {
		return fmt.Errorf("listing chaos objects: %w", err)
	}
	objects, err := meta.ExtractList(list)
	if err != nil {
		return fmt.Errorf("listing chaos objects: %w", err)
	}
	for _, o := range objects {
		object, ok := o.(ctrl.Object)
		if !ok {
			continue
		}
		ref := Ref{Kind: kindOf(object), Namespace: object.GetNamespace(), Name: object.GetName()}
		r.fail(r.removeChaos(ctx, object, ref))
	}
	return nil
}

func (r *recovery) sweepPods(ctx context.Context) error {
	pods, err := r.client.CoreV1().Pods("").List(ctx, metav1.ListOptions{LabelSelector: leftovers})
	if err != nil {
		return fmt.Errorf("listing pods of earlier runs: %w", err)
	}
	for _, p := range pods.Items {
		ref := Ref{Kind: KindPod, Namespace: p.Namespace, Name: p.Name}
		err := r.client.CoreV1().Pods(p.Namespace).Delete(ctx, p.Name, metav1.DeleteOptions{})
		if err != nil && !apierrors.IsNotFound(err) {
			r.fail(fmt.Errorf("deleting %s: %w", ref, err))
			continue
		}
		r.removed(ref)
	}
	return nil
}

func (r *recovery) sweepNamespaces(ctx context.Context) error {
	list, err := r.client.CoreV1().Namespaces().List(ctx, metav1.ListOptions{LabelSelector: leftovers})
	if err != nil {
		return fmt.Errorf("listing namespaces of earlier runs: %w", err)
	}
	for _, n := range list.Items {
		ref := Ref{Kind: KindNamespace, Name: n.Name}
		err := r.client.CoreV1().Namespaces().Delete(ctx, n.Name, metav1.DeleteOptions{})
		if err != nil && !apierrors.IsNotFound(err) {
			r.fail(fmt.Errorf("deleting %s: %w", ref, err))
			continue
		}
		r.removed(ref)
	}
	return nil
}

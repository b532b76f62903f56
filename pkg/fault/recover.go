package fault

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"maps"
	"os"
	"path/filepath"
	"slices"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"
	ctrl "sigs.k8s.io/controller-runtime/pkg/client"
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
	return (&recovery{config: config, client: client, chaos: chaos, means: means}).all(ctx, journalDir)
}

func (r *recovery) all(ctx context.Context, journalDir string) (Recovered, error) {
	r.fail(r.journals(ctx, journalDir))
	for _, kind := range slices.Sorted(maps.Keys(chaosKinds)) {
		r.fail(r.sweepChaos(ctx, kind))
	}
	r.fail(r.sweepPods(ctx))
	r.fail(r.sweepNamespaces(ctx))
	return r.done, errors.Join(r.errs...)
}

type recovery struct {
	config *rest.Config // to run commands in pods
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

// removeChaos deletes the object, if it is there and bears our label: a name in a
// file is not enough to delete something.
func removeChaos(ctx context.Context, r *recovery, ref Ref) (removed bool, err error) {
	object := chaosKinds[ref.Kind].SpawnObject()
	err = r.chaos.Get(ctx, ctrl.ObjectKey{Namespace: ref.Namespace, Name: ref.Name}, object)
	if apierrors.IsNotFound(err) || meta.IsNoMatchError(err) {
		return false, nil
	}
	if err != nil {
		return false, fmt.Errorf("reading %s: %w", ref, err)
	}
	if object.GetLabels()[managedBy] != managedByValue {
		return false, fmt.Errorf("%s does not bear the label %s=%s, so it is left alone", ref, managedBy, managedByValue)
	}
	err = remove(ctx, r.chaos, object, ref)
	return err == nil || errors.Is(err, ErrStripped), err
}

// sweepChaos deletes all objects of a kind that bear the label of a run.
func (r *recovery) sweepChaos(ctx context.Context, kind string) error {
	selector, err := metav1.ParseToLabelSelector(leftovers)
	if err != nil {
		return fmt.Errorf("parsing the selector of leftovers: %w", err)
	}
	labels, err := metav1.LabelSelectorAsSelector(selector)
	if err != nil {
		return fmt.Errorf("parsing the selector of leftovers: %w", err)
	}
	list := chaosKinds[kind].SpawnList()
	err = r.chaos.List(ctx, list, ctrl.MatchingLabelsSelector{Selector: labels})
	if meta.IsNoMatchError(err) || apierrors.IsNotFound(err) {
		return nil // no Chaos Mesh, nothing of it left
	}
	if err != nil {
		return fmt.Errorf("listing objects of kind %s: %w", kind, err)
	}
	for _, object := range list.GetItems() {
		r.fail(r.undo(ctx, Ref{Kind: kind, Namespace: object.GetNamespace(), Name: object.GetName()}))
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

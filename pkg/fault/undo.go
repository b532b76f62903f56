package fault

import (
	"context"
	"fmt"
	"maps"
	"slices"

	"github.com/chaos-mesh/chaos-mesh/api/v1alpha1"
)

// undo undoes what a journal says of ref, after the run that wrote it died. It
// tells whether there was anything to undo. The recovery has the clients, and the
// means that are not part of Kubernetes.
type undo func(ctx context.Context, r *recovery, ref Ref) (undone bool, err error)

// undoers holds the undo of every kind that a journal may name.
var undoers = map[string]undo{}

// undoneBy declares how a kind is undone. The file of the fault that journals the
// kind says it:
//
//	var _ = undoneBy(KindNode, turnOn)
func undoneBy(kind string, by undo) struct{} {
	if undoers[kind] != nil {
		panic("two ways to undo the journal's kind " + kind)
	}
	undoers[kind] = by
	return struct{}{}
}

// chaosKinds are those objects of Chaos Mesh that faults are made of, and that a
// recovery looks for.
var chaosKinds = map[string]*v1alpha1.ChaosKind{}

// madeOf declares that a fault creates objects of this kind of Chaos Mesh: they
// are undone by deleting them, from the journal or by their label.
func madeOf(kind string) struct{} {
	known := v1alpha1.AllKinds()[kind]
	if known == nil {
		panic("Chaos Mesh has no kind " + kind)
	}
	chaosKinds[kind] = known
	return undoneBy(kind, removeChaos)
}

// Pods and the partition in their network are the most common.
var (
	_ = madeOf(v1alpha1.KindPodChaos)
	_ = madeOf(v1alpha1.KindNetworkChaos)
)

// Kinds of objects that a run creates for itself. The sweep by labels takes them, so
// that a name in a file is not enough to delete a pod.
const (
	KindPod       = "Pod"
	KindNamespace = "Namespace"
)

var (
	_ = undoneBy(KindPod, leaveToSweep)
	_ = undoneBy(KindNamespace, leaveToSweep)
)

func leaveToSweep(context.Context, *recovery, Ref) (bool, error) { return false, nil }

// undo undoes one entry of a journal.
func (r *recovery) undo(ctx context.Context, ref Ref) error {
	by := undoers[ref.Kind]
	if by == nil {
		return fmt.Errorf("the journal names a kind that is not known (%s); known are %v", ref.Kind, slices.Sorted(maps.Keys(undoers)))
	}
	undone, err := by(ctx, r, ref)
	if undone {
		r.removed(ref)
	}
	return err
}

package resilience

import (
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

// darkFor is how long the node stays off: long enough for clients to be served
// again, shorter than the 40 s after which Kubernetes itself notices, so that
// what helps is the stack's own doing.
const darkFor = 15 * time.Second

// RES-04 also pins down what replaces a pod whose node is dead: nothing, until
// the node is back or somebody deletes the Node object. A StatefulSet never
// runs two pods of one name, and a dead kubelet cannot confirm that its pod is
// gone, so the pod would hang in Terminating. Two of three pods keep the
// quorum; the third comes back with its node, its volume and its name.
var res04 = conformance.Check{
	ID: "RES-04", Area: area, Level: conformance.Must,
	Assertion: "after the power-off of the active's node the service is back within its budget, and the pod comes back with its node and nowhere else",
	Source:    "kubernetes/kubernetes#96090",
	Observe:   "power-off of the active's node; load through the active Service; the pod's UID and node before and after",
	Timeout:   60 * time.Minute, // for many trials; each has its own
}

var _ = conformance.It(res04, conformance.Chaos, func(ctx ginkgo.SpecContext, r *conformance.Case) error {
	var before corev1.Pod
	return trial.Outages(ctx, r, trial.Plan{
		Make: func(ctx context.Context, _ []target.PodState, active target.PodState) (fault.Fault, error) {
			before = active.Pod
			return trial.PowerOff(ctx, r, active)
		},
		Hold: func(ctx context.Context, hit trial.Struck) error {
			return trial.FlowUntil(ctx, r, hit.At.Add(darkFor))
		},
		Outage: r.Budget,
	}, func(res trial.Result) error {
		if err := trial.TookOver(res); err != nil {
			return err
		}
		after, err := r.Target.Client.CoreV1().Pods(before.Namespace).Get(ctx, before.Name, metav1.GetOptions{})
		if err != nil {
			return r.CannotTell(fmt.Errorf("reading pod %s after its node is back: %w", before.Name, err))
		}
		return cameBack(before, *after)
	})
})

// cameBack judges what became of the pod of a dead node.
func cameBack(before, after corev1.Pod) error {
	if after.Spec.NodeName != before.Spec.NodeName {
		return fmt.Errorf("pod %s was replaced on node %s while its node %s was off; want it to wait for its node: nobody could know that it did not run there any more (kubernetes/kubernetes#96090)",
			before.Name, after.Spec.NodeName, before.Spec.NodeName)
	}
	if after.UID != before.UID {
		return fmt.Errorf("pod %s came back as another one (UID %s, before %s); want the same pod with its node, and nothing that deletes pods behind the kubelet's back",
			before.Name, after.UID, before.UID)
	}
	return nil
}

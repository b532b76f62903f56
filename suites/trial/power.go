package trial

import (
	"context"
	"fmt"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/vaultproof/vaultproof/pkg/conformance"
	"github.com/vaultproof/vaultproof/pkg/fault"
	"github.com/vaultproof/vaultproof/pkg/target"
)

// controlPlaneLabel is on the nodes that run the API server.
const controlPlaneLabel = "node-role.kubernetes.io/control-plane"

// PowerOff chooses to turn off the node of the active pod, unless nobody can,
// or the observers would go down with it.
func PowerOff(ctx context.Context, r *conformance.Case, active target.PodState) (fault.Fault, error) {
	if r.Power == nil {
		return nil, r.Skip("nobody here can turn nodes of cluster %s off: on a kind cluster that vaultproof made, name it with -kind-cluster", r.Target.ClusterName)
	}
	name := active.Pod.Spec.NodeName
	node, err := r.Target.Client.CoreV1().Nodes().Get(ctx, name, metav1.GetOptions{})
	if err != nil {
		return nil, r.CannotTell(fmt.Errorf("reading node %s of the active pod: %w", name, err))
	}
	if _, control := node.Labels[controlPlaneLabel]; control {
		return nil, r.Skip("the active pod %s is on node %s of the control plane, which is not turned off", active.Pod.Name, name)
	}
	ours, err := r.Target.Client.CoreV1().Pods("").List(ctx, metav1.ListOptions{
		LabelSelector: target.RunLabel + "=" + r.ID, FieldSelector: "spec.nodeName=" + name,
	})
	if err != nil {
		return nil, r.CannotTell(fmt.Errorf("listing the pods of this run on node %s: %w", name, err))
	}
	if len(ours.Items) > 0 {
		return nil, r.Inconclusive("pod %s/%s, which observes, is on node %s of the active pod: give Vault nodes of its own",
			ours.Items[0].Namespace, ours.Items[0].Name, name)
	}
	return &fault.PowerOff{Env: r.Faults, Power: r.Power, Node: name}, nil
}

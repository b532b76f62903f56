package stack

import (
	"context"
	"errors"
	"fmt"
	"log/slog"

	authorizationv1 "k8s.io/api/authorization/v1"
	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"

	"github.com/vaultproof/vaultproof/pkg/kube"
)

// preflight finds what would make a deployment fail, before anything is changed.
func preflight(ctx context.Context, client kubernetes.Interface, namespace string) error {
	if err := mayDeploy(ctx, client, namespace); err != nil {
		return err
	}
	if err := ownNamespace(ctx, client, namespace); err != nil {
		return err
	}
	return poolNodes(ctx, client)
}

// mayDeploy asks the API server for the rights that server-side apply needs.
func mayDeploy(ctx context.Context, client kubernetes.Interface, namespace string) error {
	for _, want := range []authorizationv1.ResourceAttributes{
		{Resource: "nodes", Verb: "list"},
		{Resource: "namespaces", Verb: "create"},
		{Group: "scheduling.k8s.io", Resource: "priorityclasses", Verb: "create"},
		{Resource: "secrets", Verb: "create", Namespace: namespace},
		{Group: "rbac.authorization.k8s.io", Resource: "roles", Verb: "create", Namespace: namespace},
		{Group: "networking.k8s.io", Resource: "networkpolicies", Verb: "patch", Namespace: namespace},
		{Group: "apps", Resource: "statefulsets", Verb: "patch", Namespace: namespace},
	} {
		review := &authorizationv1.SelfSubjectAccessReview{
			Spec: authorizationv1.SelfSubjectAccessReviewSpec{ResourceAttributes: want.DeepCopy()},
		}
		answer, err := client.AuthorizationV1().SelfSubjectAccessReviews().Create(ctx, review, metav1.CreateOptions{})
		if err != nil {
			return fmt.Errorf("the cluster does not say what this kubeconfig may do; is it up, and is the kubeconfig for it? %w", err)
		}
		if !answer.Status.Allowed {
			where := "in the cluster"
			if want.Namespace != "" {
				where = "in namespace " + want.Namespace
			}
			return fmt.Errorf("this kubeconfig may not %s %s %s: use one that may, for example of a cluster-admin", want.Verb, want.Resource, where)
		}
	}
	return nil
}

// ownNamespace refuses a namespace that somebody else made.
func ownNamespace(ctx context.Context, client kubernetes.Interface, namespace string) error {
	live, err := client.CoreV1().Namespaces().Get(ctx, namespace, metav1.GetOptions{})
	if apierrors.IsNotFound(err) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("reading namespace %s: %w", namespace, err)
	}
	if live.Labels[kube.ManagedByLabel] != kube.ManagedBy {
		return fmt.Errorf("namespace %s exists and was not made by vaultproof, so nothing is deployed into it: choose another namespace, or label it %s=%s if it may be used (and later removed with all it holds)",
			namespace, kube.ManagedByLabel, kube.ManagedBy)
	}
	return nil
}

// poolNodes wants one schedulable node of the pool for each pod.
func poolNodes(ctx context.Context, client kubernetes.Interface) error {
	list, err := client.CoreV1().Nodes().List(ctx, metav1.ListOptions{LabelSelector: poolLabel})
	if err != nil {
		return fmt.Errorf("listing the nodes with label %s: %w", poolLabel, err)
	}
	const remedy = "label three nodes, best one per zone (kubectl label node NAME dedicated=vault " + zoneLabel + "=ZONE), and keep others off them (kubectl taint node NAME dedicated=vault:NoSchedule)"
	if len(list.Items) == 0 {
		return fmt.Errorf("no node bears the label %s, so Vault has nowhere to run: %s", poolLabel, remedy)
	}
	usable, zones := 0, map[string]bool{}
	var problems []error
	for _, node := range list.Items {
		if why := unusable(&node); why != "" {
			problems = append(problems, fmt.Errorf("node %s is %s", node.Name, why))
			continue
		}
		usable++
		zones[node.Labels[zoneLabel]] = true
	}
	if usable < Pods {
		problems = append(problems, errors.New(remedy))
		return fmt.Errorf("%d of the %d nodes that Vault needs are usable (label %s): %w", usable, Pods, poolLabel, errors.Join(problems...))
	}
	if len(zones) < Pods {
		slog.Warn("the Vault nodes are in fewer zones than there are pods, so losing one zone may lose the quorum", "zones", len(zones), "pods", Pods)
	}
	return nil
}

// unusable says why the node takes no pods; empty if it does.
func unusable(node *corev1.Node) string {
	if node.Spec.Unschedulable {
		return "cordoned (kubectl uncordon " + node.Name + ")"
	}
	for _, condition := range node.Status.Conditions {
		if condition.Type == corev1.NodeReady && condition.Status == corev1.ConditionTrue {
			return ""
		}
	}
	return "not ready"
}

// apiServer returns where pods reach the Kubernetes API: the Service's own address,
// and the endpoints behind it, because policies are enforced before or after the
// translation depending on the network.
func apiServer(ctx context.Context, client kubernetes.Interface) ([]address, error) {
	service, err := client.CoreV1().Services("default").Get(ctx, "kubernetes", metav1.GetOptions{})
	if err != nil {
		return nil, fmt.Errorf("reading Service default/kubernetes: %w", err)
	}
	var out []address
	for _, ip := range service.Spec.ClusterIPs {
		for _, port := range service.Spec.Ports {
			out = append(out, address{single(ip), port.Port})
		}
	}
	slices, err := client.DiscoveryV1().EndpointSlices("default").List(ctx, metav1.ListOptions{LabelSelector: discoveryv1.LabelServiceName + "=kubernetes"})
	if err != nil {
		return nil, fmt.Errorf("listing the endpoints of Service default/kubernetes: %w", err)
	}
	for _, slice := range slices.Items {
		for _, endpoint := range slice.Endpoints {
			for _, ip := range endpoint.Addresses {
				for _, port := range slice.Ports {
					if port.Port != nil {
						out = append(out, address{single(ip), *port.Port})
					}
				}
			}
		}
	}
	return out, nil
}

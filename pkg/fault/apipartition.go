package fault

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/chaos-mesh/chaos-mesh/api/v1alpha1"
	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/wait"
	ctrl "sigs.k8s.io/controller-runtime/pkg/client"
)

// The API server's own Service, by Kubernetes' convention.
const (
	apiNamespace = "default"
	apiService   = "kubernetes"
)

// settleTimeout is how long Chaos Mesh may take to put a fault in force.
var settleTimeout = 20 * time.Second

// APIPartition cuts pods off from the API server, in both directions. Their
// nodes, all other pods and custody still reach them and are reached.
type APIPartition struct {
	Env  *Env
	Pods []string
	// Duration after which the partition ends by itself, in whole seconds.
	Duration time.Duration
}

// Kind is api-partition.
func (f *APIPartition) Kind() string { return "api-partition" }

// Target names the pods.
func (f *APIPartition) Target() string { return strings.Join(f.Pods, ", ") }

// Inject creates a NetworkChaos against the API server's addresses and waits
// until Chaos Mesh says that it is in force on every pod: what comes next may
// depend on it.
func (f *APIPartition) Inject(ctx context.Context) (Injected, error) {
	if len(f.Pods) == 0 {
		return nil, fmt.Errorf("%w: there is no pod to cut off from the API server", ErrUnavailable)
	}
	addresses, err := f.Env.APIServerAddresses(ctx)
	if err != nil {
		return nil, err
	}
	cut, err := f.Env.isolate(ctx, f.Env.cutOff("api", f.Pods, addresses, f.Duration), f.Pods)
	if err != nil {
		return nil, err // not cut: a nil partition is no nil Injected
	}
	return cut, nil
}

// APIServerAddresses are those at which pods reach the API server: its Service,
// as their own packet filter sees it before the node's kube-proxy rewrites it,
// and the addresses behind that.
func (e *Env) APIServerAddresses(ctx context.Context) ([]string, error) {
	service, err := e.Client.CoreV1().Services(apiNamespace).Get(ctx, apiService, metav1.GetOptions{})
	if err != nil {
		return nil, fmt.Errorf("reading the API server's Service %s/%s: %w", apiNamespace, apiService, err)
	}
	behind, err := e.Client.DiscoveryV1().EndpointSlices(apiNamespace).List(ctx, metav1.ListOptions{
		LabelSelector: discoveryv1.LabelServiceName + "=" + apiService,
	})
	if err != nil {
		return nil, fmt.Errorf("listing the addresses of the API server: %w", err)
	}
	addresses := slices.Clone(service.Spec.ClusterIPs)
	for _, s := range behind.Items {
		for _, e := range s.Endpoints {
			addresses = append(addresses, e.Addresses...)
		}
	}
	slices.Sort(addresses)
	addresses = slices.Compact(addresses)
	if len(addresses) == 0 {
		return nil, fmt.Errorf("%w: Service %s/%s names no address of the API server", ErrUnavailable, apiNamespace, apiService)
	}
	return addresses, nil
}

// victims reads the pods and makes sure that Chaos Mesh can act on their nodes.
func (e *Env) victims(ctx context.Context, names []string) ([]*corev1.Pod, error) {
	var victims []*corev1.Pod
	for _, name := range names {
		pod, err := e.Client.CoreV1().Pods(e.Namespace).Get(ctx, name, metav1.GetOptions{})
		if err != nil {
			return nil, fmt.Errorf("reading pod %s/%s before cutting it off: %w", e.Namespace, name, err)
		}
		if err := e.daemonOn(ctx, pod.Spec.NodeName); err != nil {
			return nil, err
		}
		victims = append(victims, pod)
	}
	return victims, nil
}

// settle waits until Chaos Mesh says that the fault is in force everywhere. It
// is no witness, only the sign that one may be looked for.
func (o *chaosObject) settle(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, settleTimeout)
	defer cancel()
	err := wait.PollUntilContextCancel(ctx, pollEvery, true, func(ctx context.Context) (bool, error) {
		if err := o.env.Chaos.Get(ctx, ctrl.ObjectKeyFromObject(o.object), o.object); err != nil {
			return false, nil // the deadline decides
		}
		inner, ok := o.object.(v1alpha1.InnerObject)
		return ok && inForce(inner.GetStatus()), nil
	})
	if err != nil {
		return fmt.Errorf("waiting until %s is in force: %w%s", o.ref, err, o.complaint(ctx))
	}
	return nil
}

// inForce reads the status of a chaos object.
func inForce(status *v1alpha1.ChaosStatus) bool {
	return slices.ContainsFunc(status.Conditions, func(c v1alpha1.ChaosCondition) bool {
		return c.Type == v1alpha1.ConditionAllInjected && c.Status == corev1.ConditionTrue
	})
}

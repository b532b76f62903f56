package fault

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// ClientPartition cuts Vault pods off from their clients, in both directions. Peers,
// custody, the API server and the kubelet's probes still pass, so that nothing in
// Kubernetes tells that nobody is served.
type ClientPartition struct {
	Env  *Env
	Pods []string
	// Clients selects the pods of clients, in all namespaces. One that starts later
	// has another address and is not cut off.
	Clients string
	// Duration after which the partition ends by itself, in whole seconds.
	Duration time.Duration
}

// Kind is client-partition.
func (f *ClientPartition) Kind() string { return "client-partition" }

// Target names the Vault pods.
func (f *ClientPartition) Target() string {
	return fmt.Sprintf("%s from pods with %s", strings.Join(f.Pods, ", "), f.Clients)
}

// Inject cuts the pods off from the addresses that clients have now.
func (f *ClientPartition) Inject(ctx context.Context) (Injected, error) {
	list, err := f.Env.Client.CoreV1().Pods("").List(ctx, metav1.ListOptions{LabelSelector: f.Clients})
	if err != nil {
		return nil, fmt.Errorf("listing the pods of clients (%s): %w", f.Clients, err)
	}
	addresses := clientAddresses(list.Items, f.Env.Namespace, f.Pods)
	if len(addresses) == 0 || len(f.Pods) == 0 {
		return nil, fmt.Errorf("%w: of %d pods with %s none runs with an address of its own that %d Vault pods could be cut off from",
			ErrUnavailable, len(list.Items), f.Clients, len(f.Pods))
	}
	cut, err := f.Env.isolate(ctx, f.Env.cutOff("clients", f.Pods, addresses, f.Duration), f.Pods)
	if err != nil {
		return nil, err
	}
	return cut, nil
}

// clientAddresses are those of pods that run, apart from the Vault pods themselves and
// from pods with the address of their node, from which the kubelet's probes come too.
func clientAddresses(pods []corev1.Pod, namespace string, vault []string) []string {
	var addresses []string
	for _, p := range pods {
		ours := p.Namespace == namespace && slices.Contains(vault, p.Name)
		if ours || p.Spec.HostNetwork || p.Status.Phase != corev1.PodRunning {
			continue
		}
		for _, ip := range p.Status.PodIPs {
			addresses = append(addresses, ip.IP)
		}
	}
	slices.Sort(addresses)
	return slices.Compact(addresses)
}

package ingress

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"time"

	discoveryv1 "k8s.io/api/discovery/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/wait"
	"k8s.io/client-go/discovery"
	"k8s.io/client-go/kubernetes"
)

// facts are what only a cluster knows.
type facts struct {
	// servers are where pods reach the Kubernetes API.
	servers []netip.AddrPort
	// vault is the address of Vault's Service, where the cluster knows the Gateway API;
	// else it is not valid, and there is no TLSRoute.
	vault netip.Addr
}

// documented stands for facts where there is no cluster: addresses that reach nothing.
var documented = facts{
	servers: []netip.AddrPort{netip.MustParseAddrPort("192.0.2.1:6443")},
	vault:   netip.MustParseAddr("192.0.2.3"),
}

// look asks the cluster. gap says why there will be no TLSRoute; empty if there will.
func look(ctx context.Context, client kubernetes.Interface, opts Options) (f facts, gap string, err error) {
	if f.servers, err = apiServers(ctx, client); err != nil {
		return f, "", err
	}
	if gap, err = gatewayGap(client.Discovery()); err != nil || gap != "" {
		return f, gap, err
	}
	f.vault, err = vaultAddress(ctx, client, opts)
	return f, "", err
}

// gatewayKinds are what Traefik wants to list before it serves any route, by version.
var gatewayKinds = map[string][]string{
	"v1":       {"gatewayclasses", "gateways", "httproutes", "grpcroutes", "backendtlspolicies"},
	"v1beta1":  {"referencegrants"},
	"v1alpha2": {"tcproutes", "tlsroutes"},
}

// gatewayGap says what the cluster lacks of the Gateway API; empty if nothing.
func gatewayGap(client discovery.DiscoveryInterface) (string, error) {
	var missing []string
	groups := 0
	for version, kinds := range gatewayKinds {
		list, err := client.ServerResourcesForGroupVersion(gatewayGroup + "/" + version)
		switch {
		case apierrors.IsNotFound(err):
			list = &metav1.APIResourceList{}
		case err != nil:
			return "", fmt.Errorf("asking whether the cluster knows the Gateway API: %w", err)
		default:
			groups++
		}
		for _, kind := range kinds {
			if !slices.ContainsFunc(list.APIResources, func(r metav1.APIResource) bool { return r.Name == kind }) {
				missing = append(missing, kind+"."+version)
			}
		}
	}
	if groups == 0 {
		return "the cluster has no Gateway API", nil
	}
	slices.Sort(missing)
	if len(missing) == 0 {
		return "", nil
	}
	return "the cluster's Gateway API lacks " + strings.Join(missing, ", ") + ", which Traefik wants (the experimental channel has them)", nil
}

// vaultAddress is where Vault's Service is reached. A stack that is being deployed at the
// same time is waited for.
func vaultAddress(ctx context.Context, client kubernetes.Interface, opts Options) (netip.Addr, error) {
	ctx, cancel := context.WithTimeout(ctx, opts.Timeout)
	defer cancel()
	missing := errors.New("it was not looked for")
	var address netip.Addr
	err := wait.PollUntilContextCancel(ctx, readyPoll, true, func(ctx context.Context) (bool, error) {
		service, err := client.CoreV1().Services(opts.VaultNamespace).Get(ctx, opts.VaultService, metav1.GetOptions{})
		if err == nil {
			address, err = netip.ParseAddr(service.Spec.ClusterIP)
		}
		if err != nil && ctx.Err() == nil {
			missing = err
		}
		return err == nil, nil
	})
	if err != nil {
		return address, fmt.Errorf("Service %s/%s has no address within %s (%w): deploy Vault first", opts.VaultNamespace, opts.VaultService, opts.Timeout.Round(time.Second), missing)
	}
	return address, nil
}

// apiServers are the Service's own address and the endpoints behind it, because policies
// are enforced before or after the translation depending on the network.
func apiServers(ctx context.Context, client kubernetes.Interface) ([]netip.AddrPort, error) {
	service, err := client.CoreV1().Services("default").Get(ctx, "kubernetes", metav1.GetOptions{})
	if err != nil {
		return nil, fmt.Errorf("reading Service default/kubernetes: %w", err)
	}
	var out []netip.AddrPort
	add := func(ip string, port int32) {
		if addr, err := netip.ParseAddr(ip); err == nil {
			out = append(out, netip.AddrPortFrom(addr.Unmap(), uint16(port)))
		}
	}
	for _, ip := range service.Spec.ClusterIPs {
		for _, port := range service.Spec.Ports {
			add(ip, port.Port)
		}
	}
	list, err := client.DiscoveryV1().EndpointSlices("default").List(ctx, metav1.ListOptions{LabelSelector: discoveryv1.LabelServiceName + "=kubernetes"})
	if err != nil {
		return nil, fmt.Errorf("listing the endpoints of Service default/kubernetes: %w", err)
	}
	for _, slice := range list.Items {
		for _, endpoint := range slice.Endpoints {
			for _, ip := range endpoint.Addresses {
				for _, port := range slice.Ports {
					if port.Port != nil {
						add(ip, *port.Port)
					}
				}
			}
		}
	}
	if len(out) == 0 {
		return nil, fmt.Errorf("Service default/kubernetes has no address, so the ingress could not reach the Kubernetes API")
	}
	return out, nil
}

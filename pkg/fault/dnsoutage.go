package fault

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	discoveryv1 "k8s.io/api/discovery/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// The cluster's DNS, by Kubernetes' convention: its Service bears this label whatever
// serves it.
const (
	dnsNamespace = "kube-system"
	dnsLabel     = "k8s-app=kube-dns"
)

// DNSOutage cuts pods off from the cluster's DNS, in both directions. What they
// resolved before, and whoever they are connected to, they go on with.
type DNSOutage struct {
	Env  *Env
	Pods []string
	// Duration after which the outage ends by itself, in whole seconds.
	Duration time.Duration
}

// Kind is dns-outage.
func (f *DNSOutage) Kind() string { return "dns-outage" }

// Target names the pods.
func (f *DNSOutage) Target() string { return strings.Join(f.Pods, ", ") }

// Inject cuts the pods off from the addresses of the DNS.
func (f *DNSOutage) Inject(ctx context.Context) (Injected, error) {
	if len(f.Pods) == 0 {
		return nil, fmt.Errorf("%w: there is no pod to cut off from DNS", ErrUnavailable)
	}
	addresses, err := f.Env.dnsAddresses(ctx)
	if err != nil {
		return nil, err
	}
	cut, err := f.Env.isolate(ctx, f.Env.cutOff("dns", f.Pods, addresses, f.Duration), f.Pods)
	if err != nil {
		return nil, err
	}
	return &withoutDNS{partitioned: cut}, nil
}

// dnsAddresses are those of the DNS Service, as a pod's own packet filter sees it, and
// those behind it.
func (e *Env) dnsAddresses(ctx context.Context) ([]string, error) {
	services, err := e.Client.CoreV1().Services(dnsNamespace).List(ctx, metav1.ListOptions{LabelSelector: dnsLabel})
	if err != nil {
		return nil, fmt.Errorf("listing the Services of the cluster's DNS: %w", err)
	}
	var addresses []string
	for _, s := range services.Items {
		behind, err := e.Client.DiscoveryV1().EndpointSlices(dnsNamespace).List(ctx, metav1.ListOptions{
			LabelSelector: discoveryv1.LabelServiceName + "=" + s.Name,
		})
		if err != nil {
			return nil, fmt.Errorf("listing the addresses behind the DNS Service %s: %w", s.Name, err)
		}
		addresses = append(addresses, s.Spec.ClusterIPs...)
		for _, slice := range behind.Items {
			for _, e := range slice.Endpoints {
				addresses = append(addresses, e.Addresses...)
			}
		}
	}
	addresses = slices.DeleteFunc(addresses, func(a string) bool { return a == "None" }) // of a headless Service
	slices.Sort(addresses)
	if addresses = slices.Compact(addresses); len(addresses) == 0 {
		return nil, fmt.Errorf("%w: no Service with %s in namespace %s names an address of the cluster's DNS", ErrUnavailable, dnsLabel, dnsNamespace)
	}
	return addresses, nil
}

type withoutDNS struct{ *partitioned }

// Witness is that of a partition. A Vault whose connections stand asks the DNS
// nothing, so names are looked up from within one of the pods until the packets that
// the kernel drops show.
func (w *withoutDNS) Witness(ctx context.Context) (Witness, error) {
	ctx, cancel := context.WithCancel(ctx)
	over := make(chan struct{})
	go func() {
		defer close(over)
		w.ask(ctx)
	}()
	witness, err := w.partitioned.Witness(ctx)
	cancel()
	<-over
	return witness, err
}

// askFor bounds one look-up. It fails, which is what it is for.
const askFor = 2 * time.Second

func (w *withoutDNS) ask(ctx context.Context) {
	for ctx.Err() == nil {
		where, err := w.env.place(ctx, w.victims[0].Name)
		asking, cancel := context.WithTimeout(ctx, askFor)
		if err == nil {
			_, _ = where.inside(asking, "nslookup", apiService+"."+apiNamespace) // the counters tell
		}
		<-asking.Done()
		cancel()
	}
}

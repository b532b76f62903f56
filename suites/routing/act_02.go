package routing

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/onsi/ginkgo/v2"
	discoveryv1 "k8s.io/api/discovery/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/vaultproof/vaultproof/pkg/conformance"
	"github.com/vaultproof/vaultproof/pkg/target"
)

var act02 = conformance.Check{
	ID: "ACT-02", Area: area, Level: conformance.Must, Manner: conformance.Reads,
	Assertion: "the ready addresses of the active Service's EndpointSlices are the active pod's IP and nothing else",
	Source:    "vault-helm#326",
	Observe:   "EndpointSlices of the active Service beside sys/leader of every pod",
}

var _ = conformance.It(act02, conformance.Conformance, func(ctx ginkgo.SpecContext, r *conformance.Case) error {
	states, err := r.Target.State(ctx)
	if err != nil {
		return r.CannotTell(err)
	}
	active, err := target.OnlyActive(states)
	if err != nil {
		return err
	}
	ready, err := readyAddresses(ctx, r.Target)
	if err != nil {
		return r.CannotTell(err)
	}
	owners := map[string]string{}
	for _, s := range states {
		owners[s.Pod.Status.PodIP] = describePod(s)
	}
	ips := []string{}
	for _, ip := range active.Pod.Status.PodIPs {
		ips = append(ips, ip.IP)
	}
	return onlyActiveIsReady(r.Target.ActiveService, active.Pod.Name, ips, ready, owners)
})

func describePod(s target.PodState) string {
	switch {
	case s.Err != nil:
		return s.Pod.Name + ", silent"
	case s.Sealed:
		return s.Pod.Name + ", sealed"
	case s.IsSelf:
		return s.Pod.Name + ", active"
	default:
		return s.Pod.Name + ", standby"
	}
}

// readyAddresses are those that the active Service routes to.
func readyAddresses(ctx context.Context, t *target.Target) ([]string, error) {
	list, err := t.Client.DiscoveryV1().EndpointSlices(t.Namespace).List(ctx, metav1.ListOptions{
		LabelSelector: discoveryv1.LabelServiceName + "=" + t.ActiveService,
	})
	if err != nil {
		return nil, fmt.Errorf("listing the EndpointSlices of Service %s: %w", t.ActiveService, err)
	}
	return readyIn(list.Items), nil
}

// readyIn collects the addresses of ready endpoints; a condition that is not
// set means ready, by the API's rules.
func readyIn(endpointSlices []discoveryv1.EndpointSlice) []string {
	var ready []string
	for _, s := range endpointSlices {
		for _, e := range s.Endpoints {
			if e.Conditions.Ready == nil || *e.Conditions.Ready {
				ready = append(ready, e.Addresses...)
			}
		}
	}
	slices.Sort(ready)
	return slices.Compact(ready)
}

// onlyActiveIsReady judges the ready addresses. activeIPs are all IPs of the
// active pod; owners describe whose an address is.
func onlyActiveIsReady(service, active string, activeIPs, ready []string, owners map[string]string) error {
	if len(ready) == 0 {
		return fmt.Errorf("the EndpointSlices of Service %s have no ready address, want that of %s (%s)", service, active, strings.Join(activeIPs, ", "))
	}
	for _, address := range ready {
		if slices.Contains(activeIPs, address) {
			continue
		}
		owner := owners[address]
		if owner == "" {
			owner = "no Vault pod"
		}
		return fmt.Errorf("an EndpointSlice of Service %s lists %s (%s), want %s (%s) alone (vault-helm#326)", service, address, owner, strings.Join(activeIPs, ", "), active)
	}
	return nil
}

package fault

import (
	"context"
	"fmt"
	"net"
	"net/url"
	"strings"
	"time"
)

// TenantPartition cuts Vault pods off from the API server of a tenant cluster, in both
// directions: what they send there is dropped without an answer, as by a dead network.
// Peers, custody, clients and their own API server still pass.
//
// A NetworkPolicy would not do: policies only ever allow more, and one that is taken away
// leaves the connections that stand.
type TenantPartition struct {
	Env  *Env
	Pods []string
	// Server is the URL of the tenant's API server as Vault reaches it, with an IP address.
	Server string
	// Duration after which the partition ends by itself, in whole seconds.
	Duration time.Duration
}

// Kind is tenant-partition.
func (f *TenantPartition) Kind() string { return "tenant-partition" }

// Target names the pods and the API server.
func (f *TenantPartition) Target() string {
	return fmt.Sprintf("%s from %s", strings.Join(f.Pods, ", "), f.Server)
}

// Inject creates a NetworkChaos against the API server's address and waits until Chaos Mesh
// says that it is in force on every pod. Packets have to be on their way for the witness to
// see any dropped, so somebody should be logging in meanwhile.
func (f *TenantPartition) Inject(ctx context.Context) (Injected, error) {
	if len(f.Pods) == 0 {
		return nil, fmt.Errorf("%w: there is no pod to cut off from the tenant's API server", ErrUnavailable)
	}
	address, err := f.address(ctx)
	if err != nil {
		return nil, err
	}
	cut, err := f.Env.isolate(ctx, f.Env.cutOff("tenant", f.Pods, []string{address}, f.Duration), f.Pods)
	if err != nil {
		return nil, err // not cut: a nil partition is no nil Injected
	}
	return cut, nil
}

// address is the API server's. To cut off one that serves Vault's own cluster too would be
// another fault.
func (f *TenantPartition) address(ctx context.Context) (string, error) {
	server, err := url.Parse(f.Server)
	if err != nil {
		return "", fmt.Errorf("%w: %q is no URL of an API server", ErrUnavailable, f.Server)
	}
	ip := net.ParseIP(server.Hostname())
	if ip == nil {
		return "", fmt.Errorf("%w: Vault reaches the tenant's API server as %q, and packets are dropped by address", ErrUnavailable, server.Hostname())
	}
	own, err := f.Env.APIServerAddresses(ctx)
	if err != nil {
		return "", err
	}
	for _, each := range own {
		if ip.Equal(net.ParseIP(each)) {
			return "", fmt.Errorf("%w: %s is the API server of Vault's own cluster, not that of tenants", ErrUnavailable, each)
		}
	}
	return ip.String(), nil
}

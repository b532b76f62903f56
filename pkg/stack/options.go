// Package stack deploys the hardened Vault, waits until it can be certified, and
// removes it.
package stack

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"strconv"
	"time"

	"github.com/vaultproof/vaultproof/pkg/custody"
)

// Names of what is deployed.
const (
	DefaultNamespace = "vault"
	DefaultOverlay   = "kind"
	DefaultPrefix    = "vault"

	statefulSetName = "vault"
	headlessService = "vault-internal"
	activeService   = "vault-active"
	publicName      = "vault.vaultproof.test"
	tlsSecret       = "vault-server-tls"
	caConfigMap     = "vault-ca"
	custodyMap      = "vault-custody"
	configMap       = "vault-config"

	// Pods is how many Vault servers the stack has, and how many voters it needs.
	Pods = 3

	podSelector = "app.kubernetes.io/name=vault,app.kubernetes.io/instance=vault,component=server"
	poolLabel   = "dedicated=vault"
	zoneLabel   = "topology.kubernetes.io/zone"
)

// readyTimeout is the budget from the last applied object to certified-ready.
const readyTimeout = 90 * time.Second

// Options say what to deploy. The zero value of each field takes its default.
type Options struct {
	// Namespace of everything that is namespaced; default "vault".
	Namespace string
	// Overlay is a directory of deploy/vault/overlays; default "kind".
	Overlay string
	// Custody is where the sidecars keep the keys.
	Custody Custody
	// Store reads the same custody from here. With it, readiness includes the
	// provisioner token and the voters; without it, only what Kubernetes shows.
	Store custody.Store
	// Timeout bounds the wait for certified-ready; default 90 s.
	Timeout time.Duration
}

// Custody is where and how the pods reach the keys.
type Custody struct {
	// Endpoint is host:port of Secret Manager's gRPC API; empty means Google's.
	Endpoint string
	// Project is the Google Cloud project, also of a local server.
	Project string
	// Audience of the service-account token that the sidecar presents.
	Audience string
	// CAPEM verifies the endpoint; empty means the system's roots.
	CAPEM []byte
	// Prefix of every secret's name; default "vault".
	Prefix string
	// CIDRs are the networks at which the endpoint is reached, which the network
	// policy opens. Default: the addresses that Endpoint's host has here.
	CIDRs []string
}

func (o Options) withDefaults() (Options, error) {
	if o.Namespace == "" {
		o.Namespace = DefaultNamespace
	}
	if o.Overlay == "" {
		o.Overlay = DefaultOverlay
	}
	if o.Custody.Prefix == "" {
		o.Custody.Prefix = DefaultPrefix
	}
	if o.Timeout == 0 {
		o.Timeout = readyTimeout
	}
	if o.Custody.Project == "" {
		return o, errors.New("no custody project is given: set Options.Custody.Project to the project that holds the keys")
	}
	if o.Custody.Audience == "" {
		return o, errors.New("no custody audience is given: set Options.Custody.Audience to the audience that the custody endpoint accepts in service-account tokens")
	}
	for _, cidr := range o.Custody.CIDRs {
		if _, err := netip.ParsePrefix(cidr); err != nil {
			return o, fmt.Errorf("Options.Custody.CIDRs holds %q, which is no network in CIDR notation", cidr)
		}
	}
	return o, nil
}

// address is one place that a network policy opens.
type address struct {
	cidr string
	port int32
}

// custodyPort is the port of Google's own API.
const custodyPort = 443

// resolve returns where the custody endpoint is, for the network policy.
func (c Custody) resolve(lookup func(host string) ([]net.IP, error)) ([]address, error) {
	port := int32(custodyPort)
	host := ""
	if c.Endpoint != "" {
		h, p, err := net.SplitHostPort(c.Endpoint)
		if err != nil {
			return nil, fmt.Errorf("the custody endpoint %q is not host:port: %w", c.Endpoint, err)
		}
		n, err := strconv.ParseUint(p, 10, 16)
		if err != nil || n == 0 {
			return nil, fmt.Errorf("the custody endpoint %q has no port number", c.Endpoint)
		}
		host, port = h, int32(n)
	}
	if len(c.CIDRs) > 0 {
		var out []address
		for _, cidr := range c.CIDRs {
			out = append(out, address{cidr, port})
		}
		return out, nil
	}
	if host == "" {
		return nil, errors.New("custody is Google Secret Manager, but the network policy needs its networks: set Options.Custody.CIDRs, for example to 199.36.153.8/30 for private.googleapis.com")
	}
	ips, err := lookup(host)
	if err != nil {
		return nil, fmt.Errorf("the custody host %q has no address here, set Options.Custody.CIDRs to the networks at which the pods reach it: %w", host, err)
	}
	if len(ips) == 0 {
		return nil, fmt.Errorf("the custody host %q has no address here: set Options.Custody.CIDRs to the networks at which the pods reach it", host)
	}
	var out []address
	for _, ip := range ips {
		out = append(out, address{single(ip.String()), port})
	}
	return out, nil
}

// single is the network that holds only ip.
func single(ip string) string {
	if addr, err := netip.ParseAddr(ip); err == nil {
		addr = addr.Unmap()
		return netip.PrefixFrom(addr, addr.BitLen()).String()
	}
	return ip
}

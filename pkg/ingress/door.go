package ingress

import (
	"cmp"
	"context"
	"fmt"
	"net"
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/dynamic"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"
)

// Door is one public name of Vault and the way in that serves it.
type Door struct {
	// Object is what makes the door, such as "Ingress ingress/vault".
	Object string
	// Namespace of the object.
	Namespace string
	// Host is the public name; empty for a rule without one. It may begin with "*.".
	Host string
	// Passthrough is what the object asks for. What really happens is seen by a handshake.
	Passthrough bool
	// Secrets are those that the object names for TLS, as "namespace/name".
	Secrets []string
	// Pods are the controller's, and Entries how each of them is reached.
	Pods    []corev1.Pod
	Entries []Entry
}

// Name is one for which the door is open: the host, or one that a wildcard is for.
func (d Door) Name() string {
	if rest, wild := strings.CutPrefix(d.Host, "*."); wild {
		return "vault." + rest
	}
	return d.Host
}

// Entry is one pod of a door, or its public address.
type Entry struct {
	// Name is for messages.
	Name string
	// DialTLS and DialHTTP open a connection to the entry for HTTPS, and for plain HTTP;
	// DialHTTP is nil where nothing listens for that.
	DialTLS, DialHTTP func(context.Context) (net.Conn, error)
}

// Vault is what doors lead to.
type Vault struct {
	Namespace string
	// Services are the names of those that select Vault's pods.
	Services []string
}

// Ways are all doors that were found.
type Ways struct {
	Doors []Door
	// Absent says of each kind of door that a cluster may have, and that could not be
	// looked for here, why.
	Absent []string
}

// finder looks for doors.
type finder struct {
	config  *rest.Config
	client  kubernetes.Interface
	dynamic dynamic.Interface
	vault   Vault

	pods    []corev1.Pod    // of all ingress controllers
	aliases map[string]bool // Services that are another name of Vault's, as namespace/name
	absent  []string
}

// Find finds every Ingress and TLSRoute that leads to Vault, whoever made it: those that
// pass TLS through and those that do not.
func Find(ctx context.Context, config *rest.Config, client kubernetes.Interface, vault Vault) (Ways, error) {
	dyn, err := dynamic.NewForConfig(config)
	if err != nil {
		return Ways{}, fmt.Errorf("making a client for gateways: %w", err)
	}
	return (&finder{config: config, client: client, dynamic: dyn, vault: vault}).find(ctx)
}

func (f *finder) find(ctx context.Context) (Ways, error) {
	if err := f.findControllers(ctx); err != nil {
		return Ways{}, err
	}
	if err := f.findAliases(ctx); err != nil {
		return Ways{}, err
	}
	doors, err := f.ingresses(ctx)
	if err := f.lacks("Ingress", err); err != nil {
		return Ways{}, err
	}
	routes, err := f.routes(ctx)
	if err := f.lacks("TLSRoute", err); err != nil {
		return Ways{}, err
	}
	doors = append(doors, routes...)
	slices.SortStableFunc(doors, func(a, b Door) int { return cmp.Or(cmp.Compare(a.Object, b.Object), cmp.Compare(a.Host, b.Host)) })
	return Ways{Doors: doors, Absent: f.absent}, nil
}

// lacks notes why a kind of door cannot be looked for, and passes other errors on.
func (f *finder) lacks(kind string, err error) error {
	if apierrors.IsForbidden(err) || apierrors.IsNotFound(err) {
		f.absent = append(f.absent, kind+": "+err.Error())
		return nil
	}
	return err
}

// findAliases finds the Services of other namespaces that lead to Vault's.
func (f *finder) findAliases(ctx context.Context) error {
	list, err := f.client.CoreV1().Services("").List(ctx, metav1.ListOptions{})
	if apierrors.IsForbidden(err) {
		return nil // then only what leads straight to Vault's own is found
	}
	if err != nil {
		return fmt.Errorf("listing the Services that may lead to Vault: %w", err)
	}
	var own []string // addresses of Vault's Services
	for _, s := range list.Items {
		if f.ownService(s.Namespace, s.Name) {
			own = append(own, s.Spec.ClusterIPs...)
		}
	}
	f.aliases = map[string]bool{}
	for i := range list.Items {
		s := &list.Items[i]
		leads, err := f.isAlias(ctx, s, own)
		if err != nil {
			return err
		}
		if leads {
			f.aliases[s.Namespace+"/"+s.Name] = true
		}
	}
	return nil
}

// isAlias tells whether a Service is another name for one of Vault's, or has the address of
// one as its endpoint.
func (f *finder) isAlias(ctx context.Context, s *corev1.Service, own []string) (bool, error) {
	if s.Spec.Type == corev1.ServiceTypeExternalName {
		labels := strings.Split(s.Spec.ExternalName, ".")
		return len(labels) >= 3 && labels[2] == "svc" && f.ownService(labels[1], labels[0]), nil
	}
	if len(s.Spec.Selector) > 0 {
		return false, nil
	}
	slices, err := f.client.DiscoveryV1().EndpointSlices(s.Namespace).List(ctx, metav1.ListOptions{LabelSelector: discoveryv1.LabelServiceName + "=" + s.Name})
	if apierrors.IsForbidden(err) {
		return false, nil
	}
	if err != nil {
		return false, fmt.Errorf("listing the endpoints of Service %s/%s, which may lead to Vault: %w", s.Namespace, s.Name, err)
	}
	return anyOf(slices.Items, own), nil
}

func anyOf(endpoints []discoveryv1.EndpointSlice, addresses []string) bool {
	for _, s := range endpoints {
		for _, e := range s.Endpoints {
			if slices.ContainsFunc(e.Addresses, func(a string) bool { return slices.Contains(addresses, a) }) {
				return true
			}
		}
	}
	return false
}

func (f *finder) ownService(namespace, name string) bool {
	return namespace == f.vault.Namespace && slices.Contains(f.vault.Services, name)
}

// leadsToVault tells whether a Service is one of Vault's.
func (f *finder) leadsToVault(namespace, name string) bool {
	return f.ownService(namespace, name) || f.aliases[namespace+"/"+name]
}

package isolation

import (
	"context"
	"fmt"
	"net"
	"slices"
	"strconv"

	"github.com/onsi/ginkgo/v2"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/vaultproof/vaultproof/pkg/conformance"
	"github.com/vaultproof/vaultproof/pkg/target"
)

const (
	// internet is an address that answers wherever the internet can be reached.
	internet = "1.1.1.1"
	// kubeletPort is open on every node, and no business of Vault's.
	kubeletPort = 10250
	// httpsPort is that of Google Secret Manager, and what an intruder would call home by.
	httpsPort = 443
	dnsPort   = 53
	// hostPort is where the control pod of this check listens.
	hostPort = 8080

	custodyConfig   = "vault-custody" // tells where keys are kept
	googleCustody   = "secretmanager.googleapis.com"
	dnsNamespace    = metav1.NamespaceSystem
	dnsLabel        = "k8s-app=kube-dns"
	apiService      = "kubernetes" // in namespace default, of every cluster
	maxKubeletDoors = 3
)

var iso06 = conformance.Check{
	ID: "ISO-06", Area: area, Level: conformance.Must, Manner: conformance.Beside,
	Assertion: "a Vault pod reaches the API server, custody with its metadata server, tenants' API servers, DNS and time, and nothing else",
	Source:    "HashiCorp production hardening, \"Firewall traffic\"",
	Observe: "TCP connects from a pod of this run under the same network policies as the Vault pods: to the API server, custody and DNS, which must succeed; " +
		"to 1.1.1.1:443, to a pod in another namespace and to kubelets, which must fail; as a control a pod in another namespace tries the latter too",
	Timeout: 2*guestPatience + conformance.DefaultTimeout,
}

var _ = conformance.It(iso06, conformance.Conformance, func(ctx ginkgo.SpecContext, r *conformance.Case) error {
	s, err := setScene(ctx, r)
	if err != nil {
		return err
	}
	needed, err := neededPlaces(ctx, r.Target)
	if err != nil {
		return r.CannotTell(err)
	}
	kubelets, err := kubeletPlaces(ctx, r.Target)
	if err != nil {
		return r.CannotTell(err)
	}
	p := newParty(r)
	host, err := p.host(ctx, []int32{hostPort})
	if err != nil {
		return r.CannotTell(err)
	}
	all, err := p.visit(ctx, leavers(r.Target.Namespace, s.like, needed, host, kubelets))
	if err != nil {
		return r.CannotTell(err)
	}
	all = awayFromHome(all)
	for _, f := range unproved(all) {
		r.Note("%s (%s) is not reached from anywhere (%s), so that Vault cannot reach it shows nothing", f.to, f.address, f.Error)
	}
	r.Measure("connections_shut_total", float64(count(all, shut)))
	r.Measure("connections_open_total", float64(count(all, open)))
	if err := trespass(all, s.guard); err != nil {
		return err
	}
	return r.CannotTell(alive(all))
})

// leavers are a guest under Vault's own policies and, as a control, one that is under
// none: the first must not reach what the second does.
func leavers(namespace string, like map[string]string, needed []door, host string, kubelets []door) []guest {
	far := append([]door{doorTo("an address of the internet", internet, httpsPort, shut)}, kubelets...)
	other := doorTo("a pod in namespace "+elsewhere, host, hostPort, shut)
	inside := guest{
		role: "insider", namespace: namespace, labels: like, doors: slices.Concat(needed, far, []door{other}),
		who: fmt.Sprintf("a pod labelled like Vault's (%v) in namespace %s", like, namespace),
	}
	outside := guest{role: "outsider", namespace: elsewhere, who: "a pod without labels in namespace " + elsewhere}
	other.want = open // or nothing is reachable here at all
	outside.doors = append(outside.doors, other)
	for _, d := range far {
		d.want = try // not everywhere is there an internet
		outside.doors = append(outside.doors, d)
	}
	return []guest{inside, outside}
}

// neededPlaces are those that Vault cannot do without.
func neededPlaces(ctx context.Context, t *target.Target) ([]door, error) {
	core := t.Client.CoreV1()
	api, err := core.Services(metav1.NamespaceDefault).Get(ctx, apiService, metav1.GetOptions{})
	if err != nil {
		return nil, fmt.Errorf("reading Service %s/%s: %w", metav1.NamespaceDefault, apiService, err)
	}
	doors := serviceDoors("the API server", *api)
	dns, err := core.Services(dnsNamespace).List(ctx, metav1.ListOptions{LabelSelector: dnsLabel})
	if err != nil {
		return nil, fmt.Errorf("listing the Services for DNS in namespace %s: %w", dnsNamespace, err)
	}
	for _, s := range dns.Items {
		if s.Spec.ClusterIP != "" && s.Spec.ClusterIP != corev1.ClusterIPNone {
			doors = append(doors, doorTo("DNS", s.Spec.ClusterIP, dnsPort, open))
			break
		}
	}
	config, err := core.ConfigMaps(t.Namespace).Get(ctx, custodyConfig, metav1.GetOptions{})
	if apierrors.IsNotFound(err) {
		return doors, nil // keys are kept elsewhere, or by hand
	}
	if err != nil {
		return nil, fmt.Errorf("reading ConfigMap %s/%s: %w", t.Namespace, custodyConfig, err)
	}
	return append(doors, custodyDoor(config.Data["endpoint"])), nil
}

func serviceDoors(what string, s corev1.Service) []door {
	var doors []door
	for _, port := range s.Spec.Ports {
		doors = append(doors, doorTo(what, s.Spec.ClusterIP, port.Port, open))
	}
	return doors
}

// custodyDoor is where the keys are; an empty endpoint means Google's own.
func custodyDoor(endpoint string) door {
	if _, _, err := net.SplitHostPort(endpoint); err != nil {
		endpoint = net.JoinHostPort(googleCustody, strconv.Itoa(httpsPort))
	}
	return door{to: "custody", address: endpoint, want: open}
}

// kubeletPlaces are kubelets of nodes that have Vault pods.
func kubeletPlaces(ctx context.Context, t *target.Target) ([]door, error) {
	pods, err := t.Pods(ctx)
	if err != nil {
		return nil, err
	}
	return kubelets(pods), nil
}

func kubelets(vault []corev1.Pod) []door {
	var doors []door
	for _, p := range vault {
		d := doorTo("the kubelet of node "+p.Spec.NodeName, p.Status.HostIP, kubeletPort, shut)
		if p.Status.HostIP != "" && len(doors) < maxKubeletDoors && !slices.Contains(doors, d) {
			doors = append(doors, d)
		}
	}
	return doors
}

// awayFromHome leaves out what a guest found on its own node: Kubernetes lets every pod
// reach that, whatever the policies say.
func awayFromHome(all []found) []found {
	return slices.DeleteFunc(slices.Clone(all), func(f found) bool {
		host, _, err := net.SplitHostPort(f.address)
		return err == nil && host == f.on
	})
}

// unproved are the doors that the control found shut too.
func unproved(all []found) []found {
	return slices.DeleteFunc(slices.Clone(all), func(f found) bool { return f.want != try || f.Open })
}

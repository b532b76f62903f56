// Package target finds the Vault under test in a cluster and gives access to
// it: its pods, Services, CA, custody, and an API client for each single pod.
// Suites see a Vault only through a Target, so any Vault on Kubernetes that
// carries the usual labels can be tested.
package target

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	appsv1 "k8s.io/api/apps/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/version"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"

	"github.com/vaultproof/vaultproof/pkg/custody"
)

// Names and labels shared with the stack and with Vault's own conventions.
const (
	// NameLabel and NameValue mark a Vault StatefulSet in every common
	// installation, the official Helm chart included.
	NameLabel = "app.kubernetes.io/name"
	NameValue = "vault"
	// ActiveLabel is set by Vault's Kubernetes service registration.
	ActiveLabel = "vault-active"
	// ManagedBy and ManagedByValue are on every object that we create.
	ManagedBy      = "app.kubernetes.io/managed-by"
	ManagedByValue = "vaultproof"
	// RunLabel is on every object that one run creates, with its run id.
	RunLabel = "vaultproof.dev/run"
	// ZoneLabel is the standard node label of a zone.
	ZoneLabel = "topology.kubernetes.io/zone"
	// SystemNamespace holds the probers and the suites' service account.
	SystemNamespace = "vaultproof-system"
	// RunnerAccount is the service account in whose name suites read custody.
	RunnerAccount = "vaultproof-runner"
)

// reachTimeout bounds the first question to the API server: long enough for a
// busy one, short enough that a dead kubeconfig is noticed at once.
const reachTimeout = 10 * time.Second

// Options narrows down which Vault is meant. The zero value takes the only one
// in the cluster.
type Options struct {
	// Namespace of the Vault; empty means: find it.
	Namespace string
	// ClusterName is what the report calls the cluster; empty means the API
	// server's address.
	ClusterName string
	// CustodyEndpoint overrides the host:port in ConfigMap vault-custody, for
	// runners that do not reach the address which pods use.
	CustodyEndpoint string
}

// Target is one Vault in one cluster.
type Target struct {
	Config      *rest.Config
	Client      kubernetes.Interface
	ClusterName string
	Kubernetes  version.Info

	Namespace   string
	StatefulSet string
	// Replicas is how many Vault pods there should be.
	Replicas int
	// Selector picks the Vault pods.
	Selector labels.Selector
	// Container and SidecarContainer are names in the pod; the second is
	// empty if nobody unseals from within the pod.
	Container        string
	SidecarContainer string

	ActiveService   string
	HeadlessService string
	// ClientServices are those that clients may use: they select Vault pods
	// and are not the headless one.
	ClientServices []string

	// CA is the PEM bundle that signs Vault's certificates; empty means the
	// system's roots.
	CA []byte
	// ServerName is verified in the certificate of every pod.
	ServerName string

	// Custody is nil if the target names none; CustodyReason says why.
	Custody       custody.Store
	CustodyReason string
	CustodyPrefix string
}

// Find looks for the Vault that opts describe. Its errors are one sentence each
// and say how to mend the matter.
func Find(ctx context.Context, config *rest.Config, opts Options) (*Target, error) {
	client, err := kubernetes.NewForConfig(config)
	if err != nil {
		return nil, fmt.Errorf("the kubeconfig cannot be used (%w): check its server, certificate and credentials", err)
	}
	t := &Target{Config: config, Client: client, ClusterName: opts.ClusterName}
	if t.ClusterName == "" {
		t.ClusterName = config.Host
	}
	if err := t.Reach(ctx); err != nil {
		return nil, err
	}
	if err := t.findStatefulSet(ctx, opts.Namespace); err != nil {
		return nil, err
	}
	if err := t.findServices(ctx); err != nil {
		return nil, err
	}
	if err := t.findCA(ctx); err != nil {
		return nil, err
	}
	t.ServerName = fmt.Sprintf("%s.%s.svc", t.ActiveService, t.Namespace)
	if err := t.findCustody(ctx, opts); err != nil {
		return nil, err
	}
	return t, nil
}

// Reach asks the API server for its version, within reachTimeout. An error means
// that the cluster, not Vault, is out of order.
func (t *Target) Reach(ctx context.Context) error {
	short := rest.CopyConfig(t.Config)
	short.Timeout = reachTimeout
	client, err := kubernetes.NewForConfig(short)
	if err != nil {
		return fmt.Errorf("the kubeconfig cannot be used (%w): check its server, certificate and credentials", err)
	}
	ctx, cancel := context.WithTimeout(ctx, reachTimeout)
	defer cancel()
	body, err := client.Discovery().RESTClient().Get().AbsPath("/version").Do(ctx).Raw()
	if err != nil {
		return fmt.Errorf("the Kubernetes API at %s does not answer (%w): is the cluster up, and is this the right -kubeconfig and -context?", t.Config.Host, err)
	}
	info, err := parseVersion(body)
	if err != nil {
		return fmt.Errorf("what answers at %s is not a Kubernetes API (%w): check the server in the kubeconfig", t.Config.Host, err)
	}
	t.Kubernetes = info
	return nil
}

func (t *Target) findStatefulSet(ctx context.Context, namespace string) error {
	list, err := t.Client.AppsV1().StatefulSets(namespace).List(ctx, metav1.ListOptions{
		LabelSelector: NameLabel + "=" + NameValue,
	})
	if err != nil {
		return fmt.Errorf("listing StatefulSets labelled %s=%s: %w", NameLabel, NameValue, err)
	}
	set, err := chooseStatefulSet(list.Items, namespace)
	if err != nil {
		return err
	}
	selector, err := metav1.LabelSelectorAsSelector(set.Spec.Selector)
	if err != nil {
		return fmt.Errorf("StatefulSet %s/%s has a selector that cannot be parsed: %w", set.Namespace, set.Name, err)
	}
	t.Namespace, t.StatefulSet, t.Selector = set.Namespace, set.Name, selector
	t.HeadlessService = set.Spec.ServiceName
	t.Replicas = 1
	if set.Spec.Replicas != nil {
		t.Replicas = int(*set.Spec.Replicas)
	}
	t.Container, t.SidecarContainer, err = chooseContainers(set)
	return err
}

// chooseStatefulSet takes the only Vault, or says what there is instead.
func chooseStatefulSet(sets []appsv1.StatefulSet, namespace string) (*appsv1.StatefulSet, error) {
	var found []*appsv1.StatefulSet
	for i := range sets {
		if c := componentOf(&sets[i]); c == "" || c == "server" {
			found = append(found, &sets[i])
		}
	}
	where := "in any namespace"
	if namespace != "" {
		where = "in namespace " + namespace
	}
	switch len(found) {
	case 1:
		return found[0], nil
	case 0:
		return nil, fmt.Errorf("no StatefulSet labelled %s=%s %s: install Vault first, or give its namespace with -namespace", NameLabel, NameValue, where)
	}
	var names []string
	for _, s := range found {
		names = append(names, s.Namespace+"/"+s.Name)
	}
	slices.Sort(names)
	return nil, fmt.Errorf("there are %d Vaults %s (%s): choose one with -namespace", len(found), where, strings.Join(names, ", "))
}

func componentOf(set *appsv1.StatefulSet) string {
	if c := set.Labels["component"]; c != "" {
		return c
	}
	return set.Spec.Template.Labels["component"]
}

// chooseContainers names Vault's own container and the sidecar that unseals.
func chooseContainers(set *appsv1.StatefulSet) (vault, sidecar string, err error) {
	for _, c := range set.Spec.Template.Spec.Containers {
		switch {
		case c.Name == "vault":
			vault = c.Name
		case c.Name == "bootstrap":
			sidecar = c.Name
		}
	}
	for _, c := range set.Spec.Template.Spec.InitContainers {
		if c.Name == "bootstrap" {
			sidecar = c.Name
		}
	}
	if vault == "" {
		return "", "", fmt.Errorf("StatefulSet %s/%s has no container named vault: this does not look like a Vault server", set.Namespace, set.Name)
	}
	return vault, sidecar, nil
}

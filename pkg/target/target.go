// Package target finds the Vault under test in a cluster and gives access to
// it: its pods, Services, CA, custody, and an API client for each single pod.
// Suites see a Vault only through a Target, so any Vault on Kubernetes that
// carries the usual labels can be tested.
package target

import (
	"bytes"
	"cmp"
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
	// File is the path of a target file, which tells what cannot be found by labels.
	File string
	// Told is the same without a file.
	Told File
}

// sidecarName is the container that unseals Vault from within its pod.
const sidecarName = "bootstrap"

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
	// Ingress are public names of Vault that somebody told, with their addresses. Others
	// are found by package ingress.
	Ingress []FileIngress

	// Plaintext means that TLS is off: the pods speak plain HTTP.
	Plaintext bool
	// CA is the PEM bundle that signs Vault's certificates; empty means the
	// system's roots.
	CA []byte
	// ServerName is verified in the certificate of every pod.
	ServerName string

	// Custody is nil if the target names none; CustodyReason says why.
	Custody       custody.Store
	CustodyReason string
	CustodyPrefix string

	admin custody.Payload // a token that somebody gave; may be nil
	seen  seen
}

// Find looks for the Vault that opts describe. Its errors are one sentence each
// and say how to mend the matter.
func Find(ctx context.Context, config *rest.Config, opts Options) (*Target, error) {
	file := opts.Told
	if opts.File != "" {
		var err error
		if file, err = LoadFile(opts.File); err != nil {
			return nil, err
		}
		if opts.Namespace != "" && file.Namespace != "" && opts.Namespace != file.Namespace {
			return nil, fmt.Errorf("-namespace is %s and the target file %s says %s: leave one of them out", opts.Namespace, opts.File, file.Namespace)
		}
	}
	client, err := kubernetes.NewForConfig(config)
	if err != nil {
		return nil, fmt.Errorf("the kubeconfig cannot be used (%w): check its server, certificate and credentials", err)
	}
	t := &Target{Config: config, Client: client, ClusterName: cmp.Or(opts.ClusterName, config.Host)}
	if err := t.Reach(ctx); err != nil {
		return nil, err
	}
	if err := t.look(ctx, file, opts); err != nil {
		return nil, err
	}
	t.say()
	return t, nil
}

// look finds one thing after the other, each by what was found before it.
func (t *Target) look(ctx context.Context, file File, opts Options) error {
	set, err := t.findStatefulSet(ctx, cmp.Or(opts.Namespace, file.Namespace), file)
	if err != nil {
		return err
	}
	if err := t.findServices(ctx, file.Services, set); err != nil {
		return err
	}
	if err := t.findScheme(ctx, file.TLS, set.Spec.Template.Spec); err != nil {
		return err
	}
	if err := t.findCA(ctx, file, set.Spec.Template.Spec); err != nil {
		return err
	}
	if err := t.findServerName(ctx, file.TLS); err != nil {
		return err
	}
	if err := t.findHosts(ctx, file.Ingress); err != nil {
		return err
	}
	if file.TokenFile != "" {
		token, err := file.read("tokenFile", file.TokenFile)
		if err != nil {
			return err
		}
		t.admin = bytes.TrimSpace(token)
		t.found("admin token", file.TokenFile)
	}
	return t.findCustody(ctx, file, opts)
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

// findStatefulSet takes the one that is told, else the only one that the common charts
// label as Vault, else the only one that has a container named vault.
func (t *Target) findStatefulSet(ctx context.Context, namespace string, file File) (*appsv1.StatefulSet, error) {
	list, err := t.Client.AppsV1().StatefulSets(namespace).List(ctx, metav1.ListOptions{})
	if err != nil {
		return nil, fmt.Errorf("listing StatefulSets: %w", err)
	}
	set, err := chooseStatefulSet(candidates(list.Items, file), namespace)
	if err != nil {
		return nil, err
	}
	selector, err := metav1.LabelSelectorAsSelector(set.Spec.Selector)
	if err != nil {
		return nil, fmt.Errorf("StatefulSet %s/%s has a selector that cannot be parsed: %w", set.Namespace, set.Name, err)
	}
	t.Namespace, t.StatefulSet, t.Selector = set.Namespace, set.Name, selector
	t.HeadlessService = set.Spec.ServiceName
	t.Replicas = 1
	if set.Spec.Replicas != nil {
		t.Replicas = int(*set.Spec.Replicas)
	}
	t.Container, t.SidecarContainer, err = chooseContainers(set, file.Container)
	return set, err
}

// candidates are the StatefulSets that may be meant.
func candidates(all []appsv1.StatefulSet, file File) []appsv1.StatefulSet {
	like := func(fits func(*appsv1.StatefulSet) bool) []appsv1.StatefulSet {
		var some []appsv1.StatefulSet
		for i := range all {
			if fits(&all[i]) {
				some = append(some, all[i])
			}
		}
		return some
	}
	if file.StatefulSet != "" {
		return like(func(s *appsv1.StatefulSet) bool { return s.Name == file.StatefulSet })
	}
	labelled := like(func(s *appsv1.StatefulSet) bool {
		c := componentOf(s)
		return s.Labels[NameLabel] == NameValue && (c == "" || c == "server")
	})
	if len(labelled) > 0 {
		return labelled
	}
	return like(func(s *appsv1.StatefulSet) bool {
		_, _, err := chooseContainers(s, "")
		return err == nil
	})
}

// chooseStatefulSet takes the only Vault, or says what there is instead.
func chooseStatefulSet(found []appsv1.StatefulSet, namespace string) (*appsv1.StatefulSet, error) {
	where := "in any namespace"
	if namespace != "" {
		where = "in namespace " + namespace
	}
	switch len(found) {
	case 1:
		return &found[0], nil
	case 0:
		return nil, fmt.Errorf("no StatefulSet labelled %s=%s, and none with a container named vault, is %s: install Vault first, give its namespace with -namespace, or tell where it is in a file with -target", NameLabel, NameValue, where)
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

// chooseContainers names Vault's own container and the sidecar that unseals. told is the
// name of the first, if somebody said it.
func chooseContainers(set *appsv1.StatefulSet, told string) (vault, sidecar string, err error) {
	name := cmp.Or(told, "vault")
	for _, c := range set.Spec.Template.Spec.Containers {
		switch c.Name {
		case name:
			vault = c.Name
		case sidecarName:
			sidecar = c.Name
		}
	}
	for _, c := range set.Spec.Template.Spec.InitContainers {
		if c.Name == sidecarName {
			sidecar = c.Name
		}
	}
	if vault == "" {
		return "", "", fmt.Errorf("StatefulSet %s/%s has no container named %s: this does not look like a Vault server; give the container's name in a file with -target", set.Namespace, set.Name, name)
	}
	return vault, sidecar, nil
}

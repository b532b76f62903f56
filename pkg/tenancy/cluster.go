// Package tenancy is what a suite knows of the tenants' side: their cluster and its API
// server, what a tenant is called in Vault, and the only way by which tenants come in, the
// ingress.
package tenancy

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net"
	"net/url"
	"strconv"
	"time"

	authenticationv1 "k8s.io/api/authentication/v1"
	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"
)

// ShortestToken is the shortest life that an API server gives to a token.
const ShortestToken = 10 * time.Minute

// reachTimeout bounds the first questions to the API server.
const reachTimeout = 10 * time.Second

// Cluster is one that tenants run in. It is not that of Vault.
type Cluster struct {
	// Config and Client are for this process.
	Config *rest.Config
	Client kubernetes.Interface
	// APIServer is the URL of the API server as Vault reaches it, which need not be how
	// this process does.
	APIServer string
	// CA verifies the API server, as PEM: what the cluster's own pods verify it with.
	CA []byte
	// Audience is the API server's own: what tokens are made for that nobody asked to be
	// made for something else.
	Audience string
}

// Open connects to the cluster of a kubeconfig's current context and looks how Vault
// reaches its API server.
func Open(ctx context.Context, kubeconfig string) (*Cluster, error) {
	config, err := clientcmd.BuildConfigFromFlags("", kubeconfig)
	if err != nil {
		return nil, fmt.Errorf("the kubeconfig %s of the tenant cluster cannot be used (%w): check the path given with -tenant-kubeconfig", kubeconfig, err)
	}
	// The default of 5 requests a second would stretch every observation.
	config.QPS, config.Burst = 50, 100
	config.UserAgent = "vaultproof"
	client, err := kubernetes.NewForConfig(config)
	if err != nil {
		return nil, fmt.Errorf("the kubeconfig %s of the tenant cluster cannot be used (%w): check its server, certificate and credentials", kubeconfig, err)
	}
	c := &Cluster{Config: config, Client: client}
	if err := c.look(ctx); err != nil {
		return nil, fmt.Errorf("looking at the tenant cluster at %s: %w", config.Host, err)
	}
	return c, nil
}

// look asks the cluster what Vault has to know of it.
func (c *Cluster) look(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, reachTimeout)
	defer cancel()
	slices, err := c.Client.DiscoveryV1().EndpointSlices(metav1.NamespaceDefault).List(ctx, metav1.ListOptions{LabelSelector: discoveryv1.LabelServiceName + "=kubernetes"})
	if err != nil {
		return fmt.Errorf("listing the endpoints of Service default/kubernetes: %w", err)
	}
	if c.APIServer, err = serverIn(slices.Items); err != nil {
		return err
	}
	ca, err := c.Client.CoreV1().ConfigMaps(metav1.NamespaceSystem).Get(ctx, "kube-root-ca.crt", metav1.GetOptions{})
	if err != nil {
		return fmt.Errorf("reading ConfigMap kube-system/kube-root-ca.crt: %w", err)
	}
	if c.CA = []byte(ca.Data["ca.crt"]); len(c.CA) == 0 {
		return errors.New("ConfigMap kube-system/kube-root-ca.crt has no ca.crt, so Vault could not verify the API server")
	}
	made, err := c.request(ctx, metav1.NamespaceDefault, "default", authenticationv1.TokenRequestSpec{ExpirationSeconds: seconds(ShortestToken)})
	if err != nil {
		return err
	}
	if len(made.Spec.Audiences) == 0 {
		return errors.New("the API server makes tokens without an audience, so a role in Vault could not be bound to one")
	}
	c.Audience = made.Spec.Audiences[0]
	return nil
}

// serverIn is the URL of the first address behind Service default/kubernetes: the API
// server itself, and not its address within the cluster.
func serverIn(slices []discoveryv1.EndpointSlice) (string, error) {
	for _, slice := range slices {
		for _, port := range slice.Ports {
			for _, endpoint := range slice.Endpoints {
				if port.Port == nil || len(endpoint.Addresses) == 0 {
					continue
				}
				host := net.JoinHostPort(endpoint.Addresses[0], strconv.Itoa(int(*port.Port)))
				return (&url.URL{Scheme: "https", Host: host}).String(), nil
			}
		}
	}
	return "", errors.New("Service default/kubernetes has no endpoint, so it is not known how Vault reaches the API server")
}

// Token has the API server make a token of a service account for an audience; empty means
// the API server's own. It lives for ttl, ShortestToken at least. Nothing revokes it before
// that but the end of the account.
func (c *Cluster) Token(ctx context.Context, namespace, account, audience string, ttl time.Duration) (string, error) {
	made, err := c.request(ctx, namespace, account, authenticationv1.TokenRequestSpec{
		Audiences: []string{cmp.Or(audience, c.Audience)}, ExpirationSeconds: seconds(ttl),
	})
	if err != nil {
		return "", err
	}
	return made.Status.Token, nil
}

// PodToken has the API server make a token of a pod's service account that ends with the
// pod, as the kubelet's do, for the API server's own audience.
func (c *Cluster) PodToken(ctx context.Context, pod *corev1.Pod, ttl time.Duration) (string, error) {
	owner := &authenticationv1.BoundObjectReference{APIVersion: "v1", Kind: "Pod", Name: pod.Name, UID: pod.UID}
	return c.boundToken(ctx, pod.Namespace, pod.Spec.ServiceAccountName, owner, ttl)
}

// SecretToken has the API server make a token of a service account, in the namespace of a
// Secret, that ends with that Secret: whoever deletes it revokes the token. The Secret may be
// empty.
func (c *Cluster) SecretToken(ctx context.Context, secret *corev1.Secret, account string, ttl time.Duration) (string, error) {
	owner := &authenticationv1.BoundObjectReference{APIVersion: "v1", Kind: "Secret", Name: secret.Name, UID: secret.UID}
	return c.boundToken(ctx, secret.Namespace, account, owner, ttl)
}

func (c *Cluster) boundToken(ctx context.Context, namespace, account string, owner *authenticationv1.BoundObjectReference, ttl time.Duration) (string, error) {
	made, err := c.request(ctx, namespace, account, authenticationv1.TokenRequestSpec{
		Audiences: []string{c.Audience}, ExpirationSeconds: seconds(ttl), BoundObjectRef: owner,
	})
	if err != nil {
		return "", err
	}
	return made.Status.Token, nil
}

func (c *Cluster) request(ctx context.Context, namespace, account string, spec authenticationv1.TokenRequestSpec) (*authenticationv1.TokenRequest, error) {
	made, err := c.Client.CoreV1().ServiceAccounts(namespace).CreateToken(ctx, account, &authenticationv1.TokenRequest{Spec: spec}, metav1.CreateOptions{})
	if err != nil {
		return nil, fmt.Errorf("asking the tenant cluster for a token of service account %s/%s: %w", namespace, account, err)
	}
	return made, nil
}

func seconds(d time.Duration) *int64 {
	n := int64(d / time.Second)
	return &n
}

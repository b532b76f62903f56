package stack

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"net"
	"slices"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/util/wait"
	"k8s.io/client-go/kubernetes"

	"github.com/vaultproof/vaultproof/deploy"
	"github.com/vaultproof/vaultproof/pkg/issuer"
	"github.com/vaultproof/vaultproof/pkg/kube"
)

const (
	certManagerGroup = "cert-manager.io/v1"
	// issueTimeout is how long cert-manager may take for a root and a leaf.
	issueTimeout = 60 * time.Second
	issuePoll    = 250 * time.Millisecond
)

// hasCertManager tells whether the cluster knows cert-manager's objects.
func hasCertManager(client kubernetes.Interface) (bool, error) {
	list, err := client.Discovery().ServerResourcesForGroupVersion(certManagerGroup)
	if apierrors.IsNotFound(err) {
		return false, nil
	}
	if err != nil {
		return false, fmt.Errorf("asking whether the cluster has cert-manager: %w", err)
	}
	return slices.ContainsFunc(list.APIResources, func(r metav1.APIResource) bool { return r.Kind == "Certificate" }), nil
}

// deployCertificates returns the certificates to deploy with: from cert-manager where the
// cluster has it, from our own issuer where not.
func deployCertificates(ctx context.Context, applier *kube.Client, client kubernetes.Interface, opts Options) (certificates, error) {
	managed, err := hasCertManager(client)
	if err != nil {
		return certificates{}, err
	}
	if !managed {
		return ownCertificates(ctx, client, opts.Namespace)
	}
	before, err := readKeypair(ctx, client, opts.Namespace, tlsSecret)
	if err != nil {
		return certificates{}, err
	}
	objects, err := certManagerObjects(opts)
	if err != nil {
		return certificates{}, err
	}
	if err := applier.Apply(ctx, objects); err != nil {
		return certificates{}, err
	}
	server, err := awaitIssued(ctx, client, opts.Namespace)
	if err != nil {
		return certificates{}, err
	}
	slog.Info("cert-manager issues Vault's certificates", "secret", opts.Namespace+"/"+tlsSecret)
	return certificates{server: server, trust: issuer.Bundle(time.Now(), server.CA, before.CA), managed: true}, nil
}

// certManagerObjects are the namespace, because it comes before the rest of the stack, and
// what cert-manager is asked for.
func certManagerObjects(opts Options) (kube.Objects, error) {
	stack, err := build(opts)
	if err != nil {
		return nil, err
	}
	manifest, err := fs.ReadFile(deploy.FS, "certificates/cert-manager.yaml")
	if err != nil {
		return nil, fmt.Errorf("reading the embedded manifests: %w", err)
	}
	objects, err := kube.Decode(manifest)
	if err != nil {
		return nil, fmt.Errorf("reading what cert-manager is asked for: %w", err)
	}
	for _, object := range objects {
		object.SetNamespace(opts.Namespace)
	}
	server := objects.Find("Certificate", "vault-server")
	if server == nil {
		return nil, errors.New("the manifests have no Certificate vault-server")
	}
	var dns, ips []any
	for _, name := range serverNames(opts.Namespace) {
		if net.ParseIP(name) != nil {
			ips = append(ips, name)
			continue
		}
		dns = append(dns, name)
	}
	for field, value := range map[string][]any{"dnsNames": dns, "ipAddresses": ips} {
		if err := unstructured.SetNestedSlice(server.Object, value, "spec", field); err != nil {
			return nil, fmt.Errorf("writing the names of Certificate vault-server: %w", err)
		}
	}
	if namespace := stack.Find("Namespace", opts.Namespace); namespace != nil {
		objects = append(objects, namespace)
	}
	objects.Manage()
	return objects, nil
}

// awaitIssued waits until the Secret holds a certificate that can be served.
func awaitIssued(ctx context.Context, client kubernetes.Interface, namespace string) (issuer.Keypair, error) {
	ctx, cancel := context.WithTimeout(ctx, issueTimeout)
	defer cancel()
	missing := errors.New("it was not looked at")
	var server issuer.Keypair
	err := wait.PollUntilContextCancel(ctx, issuePoll, true, func(ctx context.Context) (bool, error) {
		secret, err := client.CoreV1().Secrets(namespace).Get(ctx, tlsSecret, metav1.GetOptions{})
		if err == nil {
			server = keypairOf(secret)
			err = served(secret, namespace)
		}
		if err != nil && ctx.Err() == nil {
			missing = err
		}
		return err == nil, nil
	})
	if err != nil {
		return server, fmt.Errorf("cert-manager has not issued a certificate into Secret %s/%s within %s (%w): `kubectl -n %s describe certificate vault-server` says why",
			namespace, tlsSecret, issueTimeout, missing, namespace)
	}
	return server, nil
}

// served judges a Secret: its certificate is cert-manager's own, and not one that our
// issuer left, and it can be served now.
func served(secret *corev1.Secret, namespace string) error {
	if secret.Annotations[certManagerName] == "" {
		return errors.New("it was not written by cert-manager yet")
	}
	return issuer.Verify(keypairOf(secret), serverNames(namespace), time.Now())
}

// certManagerName on a Secret names the Certificate that it is written for.
const certManagerName = "cert-manager.io/certificate-name"

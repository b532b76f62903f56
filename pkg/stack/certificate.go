package stack

import (
	"context"
	"fmt"
	"log/slog"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"

	"github.com/vaultproof/vaultproof/pkg/issuer"
)

// authoritySecret keeps the root with its key, in the shape that cert-manager's CA
// issuers read. No pod mounts it and no service account may read it. Whoever can read the
// Secrets of this namespace has the server's own key already; without the root every
// renewal would be by a stranger, and each client would have to hear of that in advance.
const authoritySecret = "vault-ca-key"

const (
	day = 24 * time.Hour
	// rootLife and leafLife: the leaf is short enough that rotation is exercised, the
	// root outlives several of them.
	rootLife = 5 * 365 * day
	leafLife = 90 * day
	// reuseFor is how long a certificate must still be good to be kept.
	reuseFor = 30 * day
)

// certificates are what the stack's TLS is made of.
type certificates struct {
	// server is what the pods serve; its CA is what they trust.
	server issuer.Keypair
	// trust is what clients should trust: the root that signed, and around the
	// replacement of a root the one before or after it too.
	trust []byte
	// authority is the root with its key; empty if somebody else keeps it.
	authority issuer.Keypair
	// managed says that cert-manager writes the Secrets, so that we must not.
	managed bool
}

// serverNames are all names under which the listener is reached.
func serverNames(namespace string) []string {
	names := []string{"localhost", "127.0.0.1", publicName}
	for _, service := range []string{activeService, "*." + headlessService} {
		for _, suffix := range []string{"", "." + namespace, "." + namespace + ".svc", "." + namespace + ".svc.cluster.local"} {
			names = append(names, service+suffix)
		}
	}
	return names
}

// ownCertificates are those of our own issuer: the ones in the cluster as long as they
// are good for another 30 days and for all names, else new ones.
func ownCertificates(ctx context.Context, client kubernetes.Interface, namespace string) (certificates, error) {
	server, err := readKeypair(ctx, client, namespace, tlsSecret)
	if err != nil {
		return certificates{}, err
	}
	authority, err := readKeypair(ctx, client, namespace, authoritySecret)
	if err != nil {
		return certificates{}, err
	}
	return plan{namespace: namespace, now: time.Now()}.certificates(server, authority)
}

// readKeypair reads a kubernetes.io/tls Secret; empty if there is none.
func readKeypair(ctx context.Context, client kubernetes.Interface, namespace, name string) (issuer.Keypair, error) {
	secret, err := client.CoreV1().Secrets(namespace).Get(ctx, name, metav1.GetOptions{})
	if apierrors.IsNotFound(err) {
		return issuer.Keypair{}, nil
	}
	if err != nil {
		return issuer.Keypair{}, fmt.Errorf("reading Secret %s/%s: %w", namespace, name, err)
	}
	return keypairOf(secret), nil
}

func keypairOf(secret *corev1.Secret) issuer.Keypair {
	return issuer.Keypair{Cert: secret.Data[corev1.TLSCertKey], Key: secret.Data[corev1.TLSPrivateKeyKey], CA: secret.Data["ca.crt"]}
}

// tlsObject is the Secret of a keypair.
func tlsObject(meta metav1.ObjectMeta, pair issuer.Keypair) *corev1.Secret {
	return &corev1.Secret{
		TypeMeta:   metav1.TypeMeta{APIVersion: "v1", Kind: "Secret"},
		ObjectMeta: meta,
		Type:       corev1.SecretTypeTLS,
		Data:       map[string][]byte{corev1.TLSCertKey: pair.Cert, corev1.TLSPrivateKeyKey: pair.Key, "ca.crt": pair.CA},
	}
}

// plan decides which certificates are to be.
type plan struct {
	namespace string
	now       time.Time
}

// certificates takes what is in the cluster, either of which may be empty.
//
// A certificate by a root that clients know replaces the old one at once. A new root is
// first announced beside the old certificate, as long as that is good: pods and clients
// learn of a Secret at different times, and those who learned later would refuse the ones
// who learned earlier. The next deployment or renewal then finds the root known.
func (p plan) certificates(server, authority issuer.Keypair) (certificates, error) {
	root, err := p.root(authority)
	if err != nil {
		return certificates{}, err
	}
	c := certificates{server: server}
	if c.authority, err = root.Keypair(); err != nil {
		return certificates{}, err
	}
	names := serverNames(p.namespace)
	due := issuer.Verify(server, names, p.now.Add(reuseFor))
	usable := issuer.Verify(server, names, p.now) == nil
	switch known := root.Trusted(server.CA); {
	case due == nil && known:
	case usable && !known:
		slog.Info("announcing the next root: a server certificate of it comes with the next renewal", "secret", p.namespace+"/"+tlsSecret)
		c.server = root.Announce(server, p.now)
	default:
		if len(server.Cert) > 0 {
			slog.Info("replacing the server certificate", "secret", p.namespace+"/"+tlsSecret, "because", due)
		}
		if c.server, err = root.Server(activeService+"."+p.namespace+".svc", names, leafLife); err != nil {
			return certificates{}, err
		}
		c.server.CA = issuer.Bundle(p.now, root.PEM(), server.CA)
	}
	c.trust = issuer.Bundle(p.now, c.server.CA)
	return c, nil
}

// root is the one in the cluster if it can sign a whole leaf and one more, else a new one.
func (p plan) root(authority issuer.Keypair) (*issuer.CA, error) {
	if len(authority.Cert) > 0 {
		ca, err := issuer.LoadCA(authority)
		if err == nil && ca.NotAfter().After(p.now.Add(2*leafLife)) {
			return ca, nil
		}
		if err == nil {
			err = fmt.Errorf("it is valid until %s only", ca.NotAfter().UTC().Format(time.RFC3339))
		}
		slog.Info("replacing the root", "secret", p.namespace+"/"+authoritySecret, "because", err)
	}
	return issuer.NewCA("vaultproof "+p.namespace, rootLife)
}

package stack

import (
	"context"
	"fmt"
	"log/slog"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"

	"github.com/vaultproof/vaultproof/pkg/issuer"
)

const (
	day = 24 * time.Hour
	// rootLife and leafLife: the leaf is short enough that rotation is exercised, the
	// root outlives several of them.
	rootLife = 5 * 365 * day
	leafLife = 90 * day
	// reuseFor is how long a certificate must still be good to be kept.
	reuseFor = 30 * day
)

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

// certificate returns the keypair in the cluster if it is good for another 30 days
// and for all names, else a new one. trust holds the root that signed it, and after a
// replacement the previous roots too, so that nobody is locked out meanwhile.
func certificate(ctx context.Context, client kubernetes.Interface, namespace string) (pair issuer.Keypair, trust []byte, err error) {
	names := serverNames(namespace)
	now := time.Now()
	var before []byte
	secret, err := client.CoreV1().Secrets(namespace).Get(ctx, tlsSecret, metav1.GetOptions{})
	switch {
	case err == nil:
		pair = issuer.Keypair{Cert: secret.Data["tls.crt"], Key: secret.Data["tls.key"], CA: secret.Data["ca.crt"]}
		problem := issuer.Verify(pair, names, now.Add(reuseFor))
		if problem == nil {
			return pair, issuer.Bundle(now, pair.CA), nil
		}
		slog.Info("replacing the server certificate", "secret", namespace+"/"+tlsSecret, "because", problem)
		before = pair.CA
	case !apierrors.IsNotFound(err):
		return pair, nil, fmt.Errorf("reading Secret %s/%s: %w", namespace, tlsSecret, err)
	}
	ca, err := issuer.NewCA("vaultproof "+namespace, rootLife)
	if err != nil {
		return pair, nil, err
	}
	pair, err = ca.Server(activeService+"."+namespace+".svc", names, leafLife)
	if err != nil {
		return pair, nil, err
	}
	return pair, issuer.Bundle(now, pair.CA, before), nil
}

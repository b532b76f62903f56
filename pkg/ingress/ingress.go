// Package ingress deploys the way to Vault from outside the cluster, waits until it leads
// there, and removes it: Traefik, which passes TLS through to the active pod as it is. It
// also finds the ways that a cluster has, ours or not.
package ingress

import (
	"cmp"
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"k8s.io/apimachinery/pkg/util/wait"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"

	"github.com/vaultproof/vaultproof/pkg/kube"
)

// Namespace holds all of it but the classes and the cluster roles.
const Namespace = "ingress"

const (
	// DefaultOverlay is a directory of deploy/ingress/overlays.
	DefaultOverlay = "kind"
	// DefaultHost is the public name in the stack's certificate.
	DefaultHost = "vault.vaultproof.test"

	readyTimeout = 60 * time.Second
	readyPoll    = 250 * time.Millisecond
)

// Options say what to deploy. The zero value of each field takes its default.
type Options struct {
	// Overlay is a directory of deploy/ingress/overlays; default "kind".
	Overlay string
	// Host is the public name of Vault.
	Host string
	// VaultNamespace and VaultService are where connections are passed to; default
	// Service vault-active in namespace vault.
	VaultNamespace, VaultService string
	// CA verifies Vault's certificate, as PEM. With it, readiness includes that Vault's
	// own certificate is seen through every door; without it, only what Kubernetes shows.
	CA []byte
	// Timeout bounds the wait; default 60 s.
	Timeout time.Duration
}

func (o Options) withDefaults() Options {
	o.Overlay = cmp.Or(o.Overlay, DefaultOverlay)
	o.Host = cmp.Or(o.Host, DefaultHost)
	o.VaultNamespace = cmp.Or(o.VaultNamespace, "vault")
	o.VaultService = cmp.Or(o.VaultService, "vault-active")
	o.Timeout = cmp.Or(o.Timeout, readyTimeout)
	return o
}

// Deploy puts the ingress into the cluster and waits until it is ready: an Ingress, and a
// TLSRoute where the cluster knows those. Doing it again changes only what is different. A
// namespace or a class of these names that somebody else made is left alone, and is an
// error.
func Deploy(ctx context.Context, config *rest.Config, opts Options) error {
	opts = opts.withDefaults()
	client, err := kubernetes.NewForConfig(kube.Fast(config))
	if err != nil {
		return fmt.Errorf("making a Kubernetes client: %w", err)
	}
	facts, gap, err := look(ctx, client, opts)
	if err != nil {
		return err
	}
	if gap != "" {
		slog.Info("the ingress has no TLSRoute", "because", gap)
	}
	objects, err := render(opts, facts)
	if err != nil {
		return err
	}
	applier, err := kube.New(config)
	if err != nil {
		return err
	}
	start := time.Now()
	if err := applier.Apply(ctx, objects); err != nil {
		return err
	}
	if err := Ready(ctx, config, opts); err != nil {
		return err
	}
	slog.Info("ingress is ready", "namespace", Namespace, "host", opts.Host, "took", time.Since(start).Round(100*time.Millisecond))
	return nil
}

// Ready waits until every pod of the ingress runs and, where a CA is given, shows the
// certificate of Vault. The error says what is missing.
func Ready(ctx context.Context, config *rest.Config, opts Options) error {
	opts = opts.withDefaults()
	ctx, cancel := context.WithTimeout(ctx, opts.Timeout)
	defer cancel()
	applier, err := kube.New(config)
	if err != nil {
		return err
	}
	workloads, err := build(opts.Overlay, false)
	if err != nil {
		return err
	}
	if err := applier.WaitReady(ctx, workloads); err != nil {
		return err
	}
	if len(opts.CA) == 0 {
		return nil
	}
	missing := errors.New("it was not tried")
	err = wait.PollUntilContextCancel(ctx, readyPoll, true, func(ctx context.Context) (bool, error) {
		seen := leads(ctx, config, opts)
		if seen != nil && ctx.Err() == nil {
			missing = seen
		}
		return seen == nil, nil
	})
	if err != nil {
		return fmt.Errorf("the ingress in namespace %s does not lead to Vault as %s within %s: %w", Namespace, opts.Host, opts.Timeout, missing)
	}
	return nil
}

// Remove deletes the ingress and waits until it is gone. Without our label objects are
// left alone.
func Remove(ctx context.Context, config *rest.Config, opts Options) error {
	objects, err := build(opts.withDefaults().Overlay, true)
	if err != nil {
		return err
	}
	// The namespace takes with it what it holds.
	var outer kube.Objects
	for _, object := range objects {
		if object.GetNamespace() == "" {
			outer = append(outer, object)
		}
	}
	client, err := kube.New(config)
	if err != nil {
		return err
	}
	return client.Delete(ctx, outer)
}

// leads tells whether every door that Deploy made shows Vault's certificate.
func leads(ctx context.Context, config *rest.Config, opts Options) error {
	client, err := kubernetes.NewForConfig(kube.Fast(config))
	if err != nil {
		return fmt.Errorf("making a Kubernetes client: %w", err)
	}
	ways, err := Find(ctx, config, client, Vault{Namespace: opts.VaultNamespace, Services: []string{opts.VaultService}})
	if err != nil {
		return err
	}
	own := 0
	for _, d := range ways.Doors {
		if d.Namespace != Namespace || d.Host != opts.Host {
			continue
		}
		own++
		if err := d.shows(ctx, opts.CA); err != nil {
			return fmt.Errorf("%s: %w", d.Object, err)
		}
	}
	if own == 0 {
		return errors.New("no Ingress in namespace " + Namespace + " leads to Vault as " + opts.Host)
	}
	return nil
}

// shows tells whether every pod behind the door shows a certificate that the CA signed
// for its host.
func (d Door) shows(ctx context.Context, ca []byte) error {
	roots := x509.NewCertPool()
	if !roots.AppendCertsFromPEM(ca) {
		return errors.New("the CA of Vault holds no PEM certificate")
	}
	if len(d.Entries) == 0 {
		return errors.New("no pod serves it")
	}
	for _, entry := range d.Entries {
		if err := entry.greet(ctx, &tls.Config{ServerName: d.Host, RootCAs: roots, MinVersion: tls.VersionTLS12}); err != nil {
			return fmt.Errorf("TLS with %s as %s: %w", entry.Name, d.Host, err)
		}
	}
	return nil
}

// greet makes a handshake.
func (e Entry) greet(ctx context.Context, config *tls.Config) error {
	ctx, cancel := context.WithTimeout(ctx, dialTimeout)
	defer cancel()
	raw, err := e.DialTLS(ctx)
	if err != nil {
		return err
	}
	defer raw.Close()
	return tls.Client(raw, config).HandshakeContext(ctx)
}

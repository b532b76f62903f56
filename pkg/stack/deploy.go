package stack

import (
	"context"
	"fmt"
	"log/slog"
	"net"
	"time"

	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"

	"github.com/vaultproof/vaultproof/pkg/issuer"
	"github.com/vaultproof/vaultproof/pkg/kube"
)

// Deploy puts the stack into the cluster and waits until it is certified-ready (see
// Ready). Doing it again changes only what is different.
func Deploy(ctx context.Context, config *rest.Config, opts Options) error {
	opts, err := opts.withDefaults()
	if err != nil {
		return err
	}
	client, err := kubernetes.NewForConfig(kube.Fast(config))
	if err != nil {
		return fmt.Errorf("making a Kubernetes client: %w", err)
	}
	if err := preflight(ctx, client, opts.Namespace); err != nil {
		return err
	}
	var f facts
	if f.apiServer, err = apiServer(ctx, client); err != nil {
		return err
	}
	if f.custody, err = opts.Custody.resolve(net.LookupIP); err != nil {
		return err
	}
	applier, err := kube.New(config)
	if err != nil {
		return err
	}
	if f.tls, err = deployCertificates(ctx, applier, client, opts); err != nil {
		return err
	}
	objects, err := render(opts, f)
	if err != nil {
		return err
	}
	start := time.Now()
	if err := applier.Apply(ctx, objects); err != nil {
		return err
	}
	slog.Info("stack applied", "namespace", opts.Namespace, "objects", len(objects), "took", time.Since(start).Round(time.Millisecond))
	return Ready(ctx, config, opts)
}

// Remove deletes the stack's namespace, with its volumes, and what it has outside of
// it, and waits until that is gone. Without our label they are left alone. What is in
// custody stays there.
func Remove(ctx context.Context, config *rest.Config, opts Options) error {
	// What is removed does not depend on custody, which need not be known any more.
	if opts.Namespace == "" {
		opts.Namespace = DefaultNamespace
	}
	if opts.Overlay == "" {
		opts.Overlay = DefaultOverlay
	}
	objects, err := build(opts)
	if err != nil {
		return err
	}
	// A namespace takes with it what it holds, all at once.
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

// Render returns every object as Deploy would apply it, with a certificate that was
// made for the occasion and documentation addresses where only a cluster knows better.
func Render(opts Options) (kube.Objects, error) {
	opts, err := opts.withDefaults()
	if err != nil {
		return nil, err
	}
	made, err := plan{namespace: opts.Namespace, now: time.Now()}.certificates(issuer.Keypair{}, issuer.Keypair{})
	if err != nil {
		return nil, err
	}
	return render(opts, facts{
		apiServer: []address{{"192.0.2.1/32", 6443}},
		custody:   []address{{"192.0.2.2/32", custodyPort}},
		tls:       made,
	})
}

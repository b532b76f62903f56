package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"time"

	"github.com/vaultproof/vaultproof/bootstrap/connect"
	"github.com/vaultproof/vaultproof/bootstrap/fence"
	"github.com/vaultproof/vaultproof/bootstrap/handover"
	"github.com/vaultproof/vaultproof/bootstrap/keys"
	"github.com/vaultproof/vaultproof/bootstrap/kube"
	"github.com/vaultproof/vaultproof/bootstrap/podtls"
	"github.com/vaultproof/vaultproof/bootstrap/policies"
	"github.com/vaultproof/vaultproof/bootstrap/provision"
	"github.com/vaultproof/vaultproof/bootstrap/registrar"
	"github.com/vaultproof/vaultproof/bootstrap/sidecar"
	"github.com/vaultproof/vaultproof/bootstrap/snapshot"
	"github.com/vaultproof/vaultproof/bootstrap/status"
	"github.com/vaultproof/vaultproof/bootstrap/storage"
	"github.com/vaultproof/vaultproof/bootstrap/vault"
)

// lastWordsFor is how long Vault is listened to once the pod is being stopped. A
// Vault that was active stays on as a standby for ten seconds. With the preStop
// hooks before, which take up to 20 s, it must fit into the pod's grace period.
const lastWordsFor = 20 * time.Second

// parts are what the sidecar is made of.
type parts struct {
	sidecar sidecar.Options
	fence   *fence.Fence // nil if labels are not kept right
	// registrar is what Vault's service registration speaks to; nil if that is
	// the API server.
	registrar *registrar.Server
	taker     *snapshot.Taker // nil if no snapshots are taken
	close     func()
}

// connect makes the parts and connects them.
func (c *config) connect(ctx context.Context, board *status.Board, used func(), log *slog.Logger) (parts, error) {
	hcl, err := policies.Load(c.policyDir)
	if err != nil {
		return parts{}, err
	}
	own, err := c.Vault()
	if err != nil {
		return parts{}, err
	}
	fresh, err := own.Fresh()
	if err != nil {
		return parts{}, err
	}
	board.Surround(status.Surroundings{Vault: fresh, StorageDir: c.storageDir})
	peers, err := c.Peers(c.pod, c.peers)
	if err != nil {
		return parts{}, err
	}
	markers, err := c.markers()
	if err != nil {
		return parts{}, err
	}
	store, err := c.Custody(ctx)
	if err != nil {
		return parts{}, err
	}
	ring := &keys.Ring{Store: store, Prefix: c.Prefix, Shares: c.shares, Used: used}
	taker, err := c.snapshots.taker(own, ring, board, log)
	if err != nil {
		_ = store.Close()
		return parts{}, err
	}
	n, _ := ordinal(c.pod) // checked by parse
	p := parts{taker: taker, close: func() { _ = store.Close() }, sidecar: sidecar.Options{
		Pod: c.pod, Ordinal: n, Shares: c.shares, Threshold: c.threshold,
		Vault: own, Peers: peers, Ring: ring, Markers: markers, Log: log, CustodyFailed: board.CustodyFailed, TokensLast: board.TokensLast,
		Provisioner: &provision.Provisioner{Vault: own, Ring: ring, Custody: store, Policies: hcl, Period: c.period, MaxAge: c.maxAge,
			AuditFiles: connect.List(c.auditFiles), KeepRoot: c.keepRoot, Snapshots: c.snapshots.on(), Pod: c.pod, Log: log},
	}}
	client, err := kube.New(kube.FromEnv(c.kubeTokenFile, os.LookupEnv))
	switch {
	case err == nil:
		p.sidecar.Self = &ownPod{client: client, name: c.pod}
		p.sidecar.Namespace, p.sidecar.Provisioner.Namespace = client.Namespace(), client.Namespace()
		err = c.labels(&p, client, fence.Options{Pod: c.pod, Pods: podNames(c.pod, peers), Kube: client, Self: own,
			Peers: fence.Askers(peers), Board: board, Log: log})
	case c.registrar != "":
		err = fmt.Errorf("labels that Vault announces could not be carried to the Kubernetes API (leave -registrar-listen empty to do without): %w", err)
	default:
		without(ctx, log, c.pod, err)
		err = nil
	}
	if err != nil {
		p.close()
		return parts{}, err
	}
	return p, nil
}

// labels makes what labels need: the fence of all pods, the registrar of the own
// one, or both. Without the fence the own pod is the only one.
func (c *config) labels(p *parts, client *kube.Client, o fence.Options) (err error) {
	if c.registrar != "" {
		o.Registration = registrar.NewMemory()
		p.registrar = &registrar.Server{Namespace: client.Namespace(), Pod: c.pod, Memory: o.Registration, Log: o.Log}
	}
	switch {
	case !c.fence && p.registrar == nil:
		return nil
	case !c.fence:
		o.Pods, o.Peers = []string{c.pod}, nil
	}
	p.fence, err = fence.New(o)
	return err
}

// listenToVault answers Vault's service registration until ctx ends.
func (c *config) listenToVault(ctx context.Context, s *registrar.Server) error {
	return podtls.Server{Address: c.registrar, CertFile: c.tlsCert, KeyFile: c.tlsKey, What: "Vault's service registration", Flag: "-registrar-listen",
		Log: s.Log}.Serve(ctx, s)
}

// lastWords waits for a Vault that is being stopped too. It announces that it
// seals, and would not end before somebody listened.
func (c *config) lastWords(ctx context.Context, s *registrar.Server) {
	now, cancel := context.WithCancel(ctx)
	cancel()
	if !(handover.Files{Done: c.handoverDone}).Stopping(now) {
		return // only the sidecar is being stopped
	}
	bounded, cancel := context.WithTimeout(ctx, lastWordsFor)
	defer cancel()
	s.Memory.Drain(bounded)
}

// without tells what is missing when the Kubernetes API cannot be used. Vault
// is unsealed all the same.
func without(ctx context.Context, log *slog.Logger, pod string, err error) {
	level := slog.LevelWarn
	if errors.Is(err, kube.ErrAbsent) {
		level = slog.LevelInfo
	}
	log.Log(ctx, level, "no use of the Kubernetes API: holds are not seen, labels are not kept right, and this pod cannot restart itself",
		"pod", pod, "reason", err.Error())
}

// markers opens the folder of the storage markers, if there is to be one.
func (c *config) markers() (*storage.Dir, error) {
	if c.storageDir == "" {
		return nil, nil
	}
	return storage.Open(c.storageDir)
}

func podNames(own string, peers map[string]*vault.Client) []string {
	names := []string{own}
	for pod := range peers {
		names = append(names, pod)
	}
	return names
}

// ownPod is this pod, as the sidecar sees and deletes it.
type ownPod struct {
	client *kube.Client
	name   string
}

// Annotations implements sidecar.Self.
func (p *ownPod) Annotations(ctx context.Context) (map[string]string, error) {
	pod, err := p.client.Pod(ctx, p.name)
	if err != nil {
		return nil, fmt.Errorf("reading this pod: %w", err)
	}
	return pod.Annotations, nil
}

// Delete implements sidecar.Self. A pod of the same name that is not this one
// cannot be met: a StatefulSet makes it only when this one is gone.
func (p *ownPod) Delete(ctx context.Context) error {
	pod, err := p.client.Pod(ctx, p.name)
	if err == nil {
		err = p.client.Delete(ctx, pod)
	}
	if err != nil {
		return fmt.Errorf("deleting this pod: %w", err)
	}
	return nil
}

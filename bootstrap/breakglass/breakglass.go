// Package breakglass is "bootstrap break-glass": it makes a root token with the
// shares in custody, and stores it there. It runs in the sidecar's container of
// the active Vault, with the sidecar's own environment:
//
//	kubectl exec -n NAMESPACE POD -c bootstrap -- /usr/local/bin/bootstrap break-glass
//
// Before the root token is used, its version is stored and read back; nothing
// secret is printed. Whoever may read the secret uses it, and ends it with
// -revoke. If nobody does, the sidecar does when it next looks, after it has
// mended with it what only a root token can.
//
// Up to Vault 1.21 the shares are enough. From 2.0 on the beginning takes a
// token, too: the handover token in custody, or the admin token of
// -admin-token-file, which may be /dev/stdin:
//
//	kubectl exec -i -n NAMESPACE POD -c bootstrap -- /usr/local/bin/bootstrap break-glass -admin-token-file /dev/stdin < token
package breakglass

import (
	"bytes"
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"log/slog"
	"net/url"
	"os"
	"strings"
	"time"

	"github.com/vaultproof/vaultproof/bootstrap/connect"
	"github.com/vaultproof/vaultproof/bootstrap/failpoint"
	"github.com/vaultproof/vaultproof/bootstrap/keys"
	"github.com/vaultproof/vaultproof/bootstrap/provision"
	"github.com/vaultproof/vaultproof/bootstrap/vault"
	"github.com/vaultproof/vaultproof/pkg/ceremony"
	"github.com/vaultproof/vaultproof/pkg/custody"
)

const (
	// timeout bounds the whole command.
	timeout = 2 * time.Minute
	// tokenLimit is more than any token of Vault has, in bytes.
	tokenLimit = 8 << 10
)

// config is the command line.
type config struct {
	connect.Options
	shares     int
	adminToken string // file
	revoke     bool
}

// Main makes a root token, or with -revoke ends it. It takes the sidecar's flags
// and variables that say where Vault and custody are, and logs one line.
func Main(ctx context.Context, args []string, env func(string) (string, bool), log *slog.Logger) error {
	c, err := parse(args, env)
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	own, err := c.Vault()
	if err != nil {
		return err
	}
	store, err := c.Custody(ctx)
	if err != nil {
		return err
	}
	defer store.Close()
	ring := &keys.Ring{Store: store, Prefix: c.Prefix, Shares: c.shares}
	b := &breakGlass{vault: own, ring: ring, adminToken: c.adminToken, log: log,
		root: &provision.RootToken{Vault: own, Custody: store, Secret: ring.Root(), Log: log}}
	if c.revoke {
		return b.revoke(ctx)
	}
	return b.make(ctx)
}

func parse(args []string, env func(string) (string, bool)) (config, error) {
	var c config
	fs := flag.NewFlagSet("bootstrap break-glass", flag.ContinueOnError)
	c.Flags(fs)
	fs.IntVar(&c.shares, "shares", 5, "shares that the seal key is split into")
	fs.StringVar(&c.adminToken, "admin-token-file", "", "file with a token that may update sys/generate-root/*, which Vault asks for from 2.0 on; the handover token in custody if not given")
	fs.BoolVar(&c.revoke, "revoke", false, "end the root token in custody: revoke it, and destroy its version")
	failpoint.Flags(fs)
	if err := connect.Parse(fs, args, env); err != nil {
		return c, err
	}
	if c.shares < 1 {
		return c, fmt.Errorf("%d shares make no seal: set -shares to what the sidecar has", c.shares)
	}
	return c, c.Check()
}

type breakGlass struct {
	vault      *vault.Client
	ring       *keys.Ring
	root       *provision.RootToken
	adminToken string
	log        *slog.Logger
}

func (b *breakGlass) make(ctx context.Context) error {
	if err := b.active(ctx); err != nil {
		return err
	}
	// Also what shows that custody answers, before there is a token to store.
	version, err := b.root.Alive(ctx)
	if err != nil {
		return err
	}
	if version != "" {
		b.say("there is a live root token in custody already", version)
		return nil
	}
	admin, err := b.token(ctx)
	if err != nil {
		return err
	}
	defer clear(admin)
	client, err := b.vault.As(nil)
	if err != nil {
		return err
	}
	// From here on a stop is waited for: a root token that is nowhere could not be revoked.
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), timeout)
	defer cancel()
	root, err := ceremony.Root(ctx, client, b.shares().Shares, admin)
	if errors.Is(err, ceremony.ErrDenied) {
		return fmt.Errorf("%w; give a token with the policy admin in -admin-token-file", err)
	} else if err != nil {
		return err
	}
	defer clear(root)
	failpoint.Hit("after-ceremony")
	version, err = b.keep(ctx, root)
	if err != nil {
		return err
	}
	b.say("root token made with the shares and stored", version)
	return nil
}

// keep stores the root token, or ends it if that fails.
func (b *breakGlass) keep(ctx context.Context, root []byte) (version string, err error) {
	err = b.ring.Put(ctx, b.ring.Root(), root)
	if err == nil {
		if version, err = b.root.Alive(ctx); err == nil && version == "" {
			err = errors.New("it is not alive when read back")
		}
	}
	if err == nil {
		return version, nil
	}
	err = fmt.Errorf("the root token was made, but not stored, so it is revoked: %w", err)
	client, asErr := b.vault.As(root)
	if asErr != nil {
		return "", errors.Join(err, asErr)
	}
	return "", errors.Join(err, ceremony.Revoke(ctx, client))
}

func (b *breakGlass) revoke(ctx context.Context) error {
	if err := b.root.Retire(ctx); err != nil {
		return err
	}
	b.log.Info("no root token is left in custody", "secret", b.ring.Root())
	return nil
}

func (b *breakGlass) say(what, version string) {
	b.log.Info(what, "secret", b.ring.Root(), "version", version,
		"next", "read it from custody; when done, run this again with -revoke, or the sidecar ends it when it next looks")
}

// active makes sure that the shares go to the own pod and no further: a standby
// would pass them on.
func (b *breakGlass) active(ctx context.Context) error {
	leader, err := b.vault.Leader(ctx)
	if err != nil {
		return fmt.Errorf("a root token can only be made on an unsealed, active Vault: %w", err)
	}
	if leader.Self {
		return nil
	}
	if leader.Address == "" {
		return errors.New("this pod's Vault is not active, and knows no other that is: wait until there is one, and run this there")
	}
	return fmt.Errorf("this pod's Vault is a standby: run this in the pod of the active one: %s", provision.Command(podOf(leader.Address)))
}

// podOf gives the pod of an address, and its namespace where the host name has one, as in
// POD.SERVICE.NAMESPACE.svc.
func podOf(address string) (namespace, pod string) {
	u, err := url.Parse(address)
	if err != nil {
		return "", ""
	}
	labels := strings.Split(u.Hostname(), ".")
	if len(labels) > 3 && labels[3] == "svc" {
		namespace = labels[2]
	}
	return namespace, labels[0]
}

// token is what the ceremony is begun with; nil if there is none.
func (b *breakGlass) token(ctx context.Context) ([]byte, error) {
	if b.adminToken == "" {
		token, err := b.ring.Get(ctx, b.ring.Handover())
		if errors.Is(err, custody.ErrNotFound) {
			return nil, nil
		}
		return token, err
	}
	f, err := os.Open(b.adminToken)
	if err != nil {
		return nil, fmt.Errorf("opening the file of -admin-token-file: %w", err)
	}
	defer f.Close()
	raw, err := io.ReadAll(io.LimitReader(f, tokenLimit))
	if err != nil {
		return nil, fmt.Errorf("reading the file of -admin-token-file: %w", err)
	}
	if token := bytes.TrimSpace(raw); len(token) > 0 {
		return token, nil
	}
	return nil, fmt.Errorf("the file %s of -admin-token-file is empty", b.adminToken)
}

func (b *breakGlass) shares() ceremony.Custody {
	c := ceremony.Custody{Store: b.ring.Store}
	for i := range b.ring.Shares {
		c.Secrets = append(c.Secrets, b.ring.Share(i))
	}
	return c
}

// Package provision brings an open Vault to the state that people may rely on:
// policies, token roles, audit devices, and the tokens in custody: two, and a
// third where snapshots are taken. It looks before it writes, so that on a
// provisioned Vault it changes nothing.
//
// The root token is there for the beginning only: it is revoked and its version
// in custody destroyed as soon as everything stands. From then on the
// provisioner token makes its own successor and the other tokens anew, each
// through a token role that fixes what they may be. What only a root token can
// mend is told, with the command that makes one; if there is one in custody, it
// is used, and ended again.
//
// Every step can be repeated, and a crash between any two of them leaves a token
// in custody that works:
//
//	make the token in Vault      lapses unused after a period, if nothing follows
//	store it as a new version    readers find two versions, both alive
//	read it back, look it up
//	disable the old version      its token is not revoked: who still uses it may
//	                             go on for a period
package provision

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"time"

	"github.com/hashicorp/vault/api"
	"github.com/vaultproof/vaultproof/bootstrap/keys"
	"github.com/vaultproof/vaultproof/bootstrap/vault"
	"github.com/vaultproof/vaultproof/pkg/custody"
)

// Custody is the part of custody in which versions of a secret are told apart.
type Custody interface {
	Read(ctx context.Context, id string) (custody.Secret, error)
	ReadVersion(ctx context.Context, id, version string) (custody.Secret, error)
	Versions(ctx context.Context, id string) ([]custody.Version, error)
	Disable(ctx context.Context, id, version string) error
	Destroy(ctx context.Context, id, version string) error
}

// Provisioner provisions one Vault.
type Provisioner struct {
	Vault    *vault.Client
	Ring     *keys.Ring
	Custody  Custody           // the same as Ring's
	Policies map[string]string // name to HCL
	Period   time.Duration     // of the tokens
	// MaxAge is how old a token may be before it is replaced; 0 means that it
	// may be of any age.
	MaxAge time.Duration
	// AuditFiles are paths on Vault's side, or "stdout"; one file device each.
	AuditFiles []string
	KeepRoot   bool // leave the root token alive
	Snapshots  bool // keep a token that takes snapshots, too
	// Pod is the own pod, and Namespace its namespace, for the command that an
	// admin is told to run; either may be empty.
	Pod, Namespace string
	Log            *slog.Logger
}

// lookAgain is how soon a reservation is looked into again: an admin may have
// made a root token meanwhile.
const lookAgain = time.Minute

// Result of a pass.
type Result struct {
	RenewIn time.Duration // until Renew is due
	// Reservation says what could not be checked or mended although the
	// provisioner token is good.
	Reservation string
	// Tokens tells until when each live token is valid unless it is renewed, by
	// the name of its role; nil if that could not be found out. It is told with
	// an error, too.
	Tokens map[string]time.Time
}

// told is the reservation as an error, or nil.
func (r Result) told() error {
	if r.Reservation == "" {
		return nil
	}
	return errors.New(r.Reservation)
}

// ErrDead: there is no live provisioner token.
var ErrDead = errors.New("the provisioner token in custody is not alive")

// Ensure checks everything and mends what differs, tokens that are due for
// renewal included.
//
// An error that is ErrDead means that there is no live provisioner token; any
// other, that this is not known, or that something should soon be tried again.
func (p *Provisioner) Ensure(ctx context.Context) (Result, error) {
	have, err := p.look(ctx)
	// First of all, for a token that nobody renews dies; trouble elsewhere must
	// not keep it waiting.
	late := p.renew(ctx, have)
	if err != nil {
		return Result{}, errors.Join(err, late)
	}
	r, err := p.ensure(ctx, have)
	r.Tokens = have.last()
	switch {
	case err != nil && !have.of(provisioner).alive:
		err = fmt.Errorf("%w: %w", ErrDead, errors.Join(err, late))
	case late != nil:
		err = errors.Join(late, err, r.told()) // what differs may be why
	}
	return r, err
}

// Renew is what is due when Result.RenewIn is over: the same as Ensure, for what
// drifted meanwhile is found then, too.
func (p *Provisioner) Renew(ctx context.Context) (Result, error) { return p.Ensure(ctx) }

func (p *Provisioner) ensure(ctx context.Context, have tokens) (Result, error) {
	root, err := p.root().find(ctx)
	if err != nil {
		return Result{}, err
	}
	if root.client == nil && !have.of(provisioner).alive {
		return Result{}, fmt.Errorf("secret %s needs a new one, and there is no root token to make it with (%s): %s",
			p.Ring.Provisioner(), root.why, p.mend())
	}
	var but reservations
	if root.client != nil {
		err = p.establish(ctx, root.client)
	} else {
		err = p.compare(ctx, have.of(provisioner).client, root.why, &but)
	}
	if err != nil {
		return Result{}, err
	}
	if err := p.replace(ctx, root, have, &but); err != nil {
		return Result{}, err
	}
	if !p.KeepRoot && root.found {
		err := p.root().Retire(ctx)
		if errors.Is(err, custody.ErrDenied) { // which trying harder does not mend
			but.add("%s", err)
		} else if err != nil {
			return Result{}, err
		}
	}
	r := Result{RenewIn: min(have.due(), p.oldest(have)), Reservation: strings.Join(but, "; ")}
	if r.Reservation != "" {
		r.RenewIn = min(r.RenewIn, lookAgain)
	}
	return r, nil
}

func (p *Provisioner) root() *RootToken {
	return &RootToken{Vault: p.Vault, Custody: p.Custody, Secret: p.Ring.Root(), Log: p.Log}
}

// establish writes, with the root token, what nobody else may write.
func (p *Provisioner) establish(ctx context.Context, root *api.Client) error {
	if err := p.policies(ctx, root); err != nil {
		return err
	}
	if err := p.roles(ctx, root); err != nil {
		return err
	}
	return p.audit(ctx, root)
}

// reservations are what an admin should know although Vault serves.
type reservations []string

func (r *reservations) add(format string, args ...any) { *r = append(*r, fmt.Sprintf(format, args...)) }

// mend is what an admin does when a root token is wanted.
func (p *Provisioner) mend() string {
	return "run \"" + Command(p.Namespace, p.Pod) + "\", which makes a root token with the shares (sys/generate-root) and stores it in secret " +
		p.Ring.Root() + "; the sidecar finds it there, mends this, and ends it again"
}

// Command is the command that makes a root token with the shares in custody, to
// be run in the pod of the active Vault.
func Command(namespace, pod string) string {
	if pod == "" {
		pod = "<pod of the active Vault>"
	}
	if namespace != "" {
		pod = "-n " + namespace + " " + pod
	}
	return "kubectl exec " + pod + " -c bootstrap -- /usr/local/bin/bootstrap break-glass"
}

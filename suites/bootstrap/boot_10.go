package bootstrap

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/hashicorp/vault/api"
	"github.com/onsi/ginkgo/v2"

	"github.com/vaultproof/vaultproof/pkg/ceremony"
	"github.com/vaultproof/vaultproof/pkg/conformance"
	"github.com/vaultproof/vaultproof/pkg/custody"
	"github.com/vaultproof/vaultproof/pkg/target"
)

var boot10 = conformance.Check{
	ID: "BOOT-10", Area: area, Level: conformance.Should,
	Assertion: "break-glass: the shares in custody, and from Vault 2.0 on an admin token, yield a root token, which is used, revoked and left nowhere",
	Source:    `Vault production hardening, "Avoid root tokens"; bank-vaults operator_client.go:475-556 (breaks on 2.0)`,
	Observe:   "the ceremony of sys/generate-root on the active pod; a privileged read with its token; auth/token/lookup-self with it afterwards; versions of the root token in custody before and after",
}

var _ = conformance.It(boot10, conformance.Conformance, func(ctx ginkgo.SpecContext, r *conformance.Case) error {
	if _, err := r.Target.Active(ctx); err != nil {
		return r.Inconclusive("a ceremony takes an active pod: %w", err)
	}
	var seen brokenGlass
	var err error
	if seen.before, err = readableRoots(ctx, r.Target); err != nil {
		return r.CannotTell(err)
	}
	var token []byte
	defer func() { clear(token) }()
	started := time.Now()
	var use error // of observing, as opposed to the ceremony
	err = r.Target.WithRoot(ctx, func(ctx context.Context, root *api.Client) error {
		r.Measure("ceremony_ms", float64(time.Since(started).Milliseconds()))
		token = []byte(root.Token())
		use = seen.use(ctx, root)
		return use
	})
	switch {
	case use != nil:
		return r.CannotTell(use)
	case errors.Is(err, custody.ErrDenied):
		return r.Skip("the runner may not read the shares in custody: %v", err)
	case errors.Is(err, custody.ErrUnavailable), errors.Is(err, ceremony.ErrBusy):
		return r.CannotTell(err)
	case err != nil:
		return glassHolds(err)
	}
	if err := seen.look(ctx, r, token); err != nil {
		return r.CannotTell(err)
	}
	return swept(seen)
})

// glassHolds says that nobody gets in when it matters.
func glassHolds(cause error) error {
	return fmt.Errorf("sys/generate-root with the shares in custody ends with %w; want a root token that works and is revoked (bank-vaults operator_client.go:475-556 breaks on Vault 2.0)", cause)
}

// brokenGlass is what was seen of making, using and revoking a root token.
type brokenGlass struct {
	policies      []string // of the token while in use
	open          bool     // a ceremony was still under way once the token was there
	read          bool     // a path that only a privileged token reads was read
	alive         bool     // the token still worked afterwards
	before, after int      // versions of the root token in custody that can be read
}

// use tries the token out.
func (c *brokenGlass) use(ctx context.Context, root *api.Client) error {
	self, err := root.Auth().Token().LookupSelfWithContext(ctx)
	if err != nil {
		return fmt.Errorf("looking up the root token of the ceremony: %w", err)
	}
	c.policies = texts(self.Data["policies"])
	status, err := root.Sys().GenerateRootStatusWithContext(ctx)
	if err != nil {
		return fmt.Errorf("reading sys/generate-root/attempt: %w", err)
	}
	c.open = status.Started
	list, err := root.Logical().ListWithContext(ctx, "auth/token/accessors")
	if err != nil {
		return fmt.Errorf("listing auth/token/accessors with the root token of the ceremony: %w", err)
	}
	c.read = list != nil
	return nil
}

// look tells what is left. A token that lives on is revoked when the check is
// over.
func (c *brokenGlass) look(ctx context.Context, r *conformance.Case, token []byte) error {
	client, done, err := activeClient(ctx, r.Target)
	if err != nil {
		return err
	}
	defer done()
	_, err = lookupSelf(ctx, client, token)
	if err != nil && !errors.Is(err, errTokenRefused) {
		return err
	}
	if c.alive = err == nil; c.alive {
		left := slices.Clone(token)
		r.Defer(func(ctx context.Context) error { return revoke(ctx, r.Target, left) })
	}
	c.after, err = readableRoots(ctx, r.Target)
	return err
}

func revoke(ctx context.Context, t *target.Target, token []byte) error {
	defer clear(token)
	client, done, err := activeClient(ctx, t)
	if err != nil {
		return err
	}
	defer done()
	client.SetToken(string(token))
	if err := client.Auth().Token().RevokeSelfWithContext(ctx, ""); err != nil {
		return fmt.Errorf("revoking the root token of the ceremony: %w", err)
	}
	return nil
}

// readableRoots counts the versions of the root token in custody that can be
// read. They are not read.
func readableRoots(ctx context.Context, t *target.Target) (int, error) {
	if t.Custody == nil {
		return 0, fmt.Errorf("%w: %s", target.ErrNoCustody, t.CustodyReason)
	}
	versions, err := t.Custody.Versions(ctx, t.CustodyPrefix+"-"+target.RootTokenSecret)
	if err != nil && !errors.Is(err, custody.ErrNotFound) {
		return 0, fmt.Errorf("listing the versions of the root token in custody: %w", err)
	}
	return enabled(versions), nil
}

func enabled(versions []custody.Version) (n int) {
	for _, v := range versions {
		if v.State == custody.Enabled {
			n++
		}
	}
	return n
}

// swept judges a ceremony.
func swept(c brokenGlass) error {
	switch {
	case !slices.Contains(c.policies, "root"):
		return fmt.Errorf("the token of the ceremony has the policies %v, want root", c.policies)
	case !c.read:
		return errors.New("the token of the ceremony cannot list auth/token/accessors, want a root token that can")
	case c.open:
		return errors.New("sys/generate-root/attempt says started=true once the token was there, want the ceremony to be over: anybody could go on with it")
	case c.alive:
		return errors.New("auth/token/lookup-self answers 200 to the token of the ceremony after it was revoked, want 403 (production hardening, \"Avoid root tokens\")")
	case c.after > c.before:
		return fmt.Errorf("custody has %d readable versions of the root token after the ceremony and had %d before, want no more", c.after, c.before)
	}
	return nil
}

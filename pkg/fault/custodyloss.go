package fault

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/vaultproof/vaultproof/pkg/custody"
)

// KindSecretVersion is a version of a secret that was disabled and must be
// enabled again. In its Ref the namespace is the secret's id.
const KindSecretVersion = "SecretVersion"

var _ = undoneBy(KindSecretVersion, func(ctx context.Context, r *recovery, ref Ref) (bool, error) {
	if r.means.Versions == nil {
		return false, fmt.Errorf("%s was disabled in custody, which cannot be reached from here: enable version %s of secret %s", ref, ref.Name, ref.Namespace)
	}
	return false, EnableVersion(ctx, r.means.Versions, ref)
})

// Versions is the part of custody that a loss is made with. custody.Client has
// it.
type Versions interface {
	Versions(ctx context.Context, id string) ([]custody.Version, error)
	Disable(ctx context.Context, id, version string) error
	Enable(ctx context.Context, id, version string) error
}

// CustodyLoss makes secrets unreadable by disabling their versions. Nothing is
// destroyed.
type CustodyLoss struct {
	Custody Versions
	Journal *Journal
	// Secrets are the ids of the secrets to lose.
	Secrets []string
}

// Kind is custody-loss.
func (f *CustodyLoss) Kind() string { return "custody-loss" }

// Target is the secrets.
func (f *CustodyLoss) Target() string { return strings.Join(f.Secrets, ", ") }

// Inject disables every enabled version of the secrets. If it cannot, it undoes
// what it did.
func (f *CustodyLoss) Inject(ctx context.Context) (Injected, error) {
	l := &custodyLost{fault: f}
	if err := l.disable(ctx); err != nil {
		if errors.Is(err, custody.ErrDenied) {
			err = fmt.Errorf("%w: versions in custody may not be disabled by this run, whose account needs the permissions versions.disable and versions.enable (role secretVersionManager): %w", ErrUnavailable, err)
		}
		return nil, errors.Join(err, l.Recover(context.WithoutCancel(ctx)))
	}
	return l, nil
}

type custodyLost struct {
	fault    *CustodyLoss
	disabled []Ref
}

func (l *custodyLost) disable(ctx context.Context) error {
	for _, id := range l.fault.Secrets {
		versions, err := l.fault.Custody.Versions(ctx, id)
		if err != nil {
			return fmt.Errorf("listing the versions of %s before disabling them: %w", id, err)
		}
		for _, v := range versions {
			if v.State != custody.Enabled {
				continue
			}
			ref := Ref{Kind: KindSecretVersion, Namespace: id, Name: v.Name}
			if l.fault.Journal != nil {
				if err := l.fault.Journal.Begin(ref); err != nil {
					return err
				}
			}
			l.disabled = append(l.disabled, ref)
			if err := l.fault.Custody.Disable(ctx, id, v.Name); err != nil {
				return fmt.Errorf("disabling version %s of %s: %w", v.Name, id, err)
			}
		}
	}
	if len(l.disabled) == 0 {
		return fmt.Errorf("%w: none of %s has an enabled version to lose", ErrUnavailable, l.fault.Target())
	}
	return nil
}

// Witness reads the list of versions back: none of any secret may be enabled.
func (l *custodyLost) Witness(ctx context.Context) (Witness, error) {
	for _, id := range l.fault.Secrets {
		versions, err := l.fault.Custody.Versions(ctx, id)
		if err != nil {
			return Witness{}, fmt.Errorf("%w: the versions of %s cannot be listed: %w", ErrNoWitness, id, err)
		}
		for _, v := range versions {
			if v.State == custody.Enabled {
				return Witness{}, fmt.Errorf("%w: version %s of %s is enabled still", ErrNoWitness, v.Name, id)
			}
		}
	}
	return Witness{Evidence: "custody lists no enabled version of " + l.fault.Target(), At: time.Now()}, nil
}

// Recover enables the versions again; doing so twice does no harm. What could
// not be enabled stays in the journal.
func (l *custodyLost) Recover(ctx context.Context) error {
	var errs []error
	for _, ref := range l.disabled {
		err := EnableVersion(ctx, l.fault.Custody, ref)
		if err == nil && l.fault.Journal != nil {
			err = l.fault.Journal.Done(ref)
		}
		errs = append(errs, err)
	}
	return errors.Join(errs...)
}

// EnableVersion undoes what a journal says of a KindSecretVersion. A version
// that is gone or enabled needs nothing.
func EnableVersion(ctx context.Context, store Versions, ref Ref) error {
	versions, err := store.Versions(ctx, ref.Namespace)
	if errors.Is(err, custody.ErrNotFound) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("reading the state of %s: %w", ref, err)
	}
	for _, v := range versions {
		if v.Name != ref.Name || v.State != custody.Disabled {
			continue
		}
		if err := store.Enable(ctx, ref.Namespace, ref.Name); err != nil {
			return fmt.Errorf("enabling version %s of secret %s again, without which Vault may not unseal: %w", ref.Name, ref.Namespace, err)
		}
	}
	return nil
}

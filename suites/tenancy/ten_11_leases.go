package tenancy

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/hashicorp/vault/api"
	"k8s.io/apimachinery/pkg/util/wait"

	"github.com/vaultproof/vaultproof/fixtures/tenant/journal"
	"github.com/vaultproof/vaultproof/fixtures/tenant/workload"
	"github.com/vaultproof/vaultproof/pkg/tenancy"
	"github.com/vaultproof/vaultproof/suites/trial"
)

const (
	// settleFor is how long Vault may take to drop the accounts whose leases have ended.
	settleFor = 90 * time.Second
	// settleEvery is how often it is looked whether it has.
	settleEvery = 3 * time.Second
	// lateDrop is how long after its end an account may still be there: Vault ends leases in
	// its own time, some at once after it was unsealed.
	lateDrop = 30 * time.Second
)

// ledger is what is known of the accounts of each tenant, by the tenant's name.
type ledger map[string]*book

// book is what is known of one tenant's accounts.
type book struct {
	until    map[string]time.Time // until when each was valid when it was last looked at
	current  string               // the one that the application came in with last
	changes  int                  // of that
	renewals int
}

func (l ledger) of(t tenancy.Tenant) *book {
	if l[t.Name] == nil {
		l[t.Name] = &book{until: map[string]time.Time{}}
	}
	return l[t.Name]
}

// used notes with which accounts the application came in.
func (l ledger) used(t tenancy.Tenant, entries []journal.Entry) {
	b := l.of(t)
	for _, e := range entries {
		if e.Kind != journal.Postgres || !e.OK || e.Account == b.current {
			continue
		}
		if b.current != "" {
			b.changes++
		}
		b.current = e.Account
	}
}

// took notes until when accounts are valid: later than before is a lease that was renewed.
func (b *book) took(accounts []workload.Account) {
	for _, a := range accounts {
		if before, known := b.until[a.Name]; known && a.ValidUntil.After(before) {
			b.renewals++
		}
		b.until[a.Name] = a.ValidUntil
	}
}

// note looks at the accounts of all tenants.
func (f *fire) note(ctx context.Context) error {
	for _, app := range f.apps {
		accounts, err := f.database.Accounts(ctx, app.Tenant)
		if err != nil {
			return err
		}
		f.ledger.of(app.Tenant).took(accounts)
	}
	return nil
}

// settle judges the leases when all faults are over: each has its account in PostgreSQL, and
// each account its lease, first while the applications run, and then when all leases are
// ended.
func (f *fire) settle(ctx context.Context) error {
	alive := 0
	for _, app := range f.apps {
		b := f.ledger.of(app.Tenant)
		f.r.Measure(app.Tenant.Mount+"_leases_renewed_total", float64(b.renewals))
		f.r.Measure(app.Tenant.Mount+"_credentials_changed_total", float64(b.changes))
		alive += b.renewals + b.changes
	}
	if alive == 0 {
		return f.r.Inconclusive("no lease was renewed or replaced while faults went on, so that none is lost is not shown")
	}
	return f.r.Target.WithRoot(ctx, func(ctx context.Context, root *api.Client) error {
		if err := f.await(ctx, root, func(b *book, s standing) error { return s.accounted(b.current, time.Now()) }); err != nil {
			return err
		}
		for _, app := range f.apps {
			if err := app.Remove(ctx); err != nil {
				return f.r.CannotTell(err)
			}
			if err := workload.EndLeases(ctx, root, app.Tenant); err != nil {
				return f.r.CannotTell(err)
			}
		}
		return f.await(ctx, root, func(_ *book, s standing) error { return s.emptied() })
	})
}

// await waits until every tenant is judged good, or it has taken too long.
func (f *fire) await(ctx context.Context, root *api.Client, judge func(*book, standing) error) error {
	ctx, cancel := context.WithTimeout(ctx, settleFor)
	defer cancel()
	verdict := errors.New("nothing was looked at")
	err := wait.PollUntilContextCancel(ctx, settleEvery, true, func(ctx context.Context) (bool, error) {
		var errs []error
		for _, app := range f.apps {
			s, err := f.standing(ctx, root, app.Tenant)
			if err != nil && ctx.Err() != nil {
				return false, nil // time is over: what was seen before counts
			}
			if err != nil {
				err = f.r.CannotTell(err)
			} else {
				err = judge(f.ledger.of(app.Tenant), s)
			}
			errs = append(errs, err)
		}
		verdict = errors.Join(errs...)
		return verdict == nil, nil
	})
	if err != nil {
		return fmt.Errorf("%s after the last fault: %w", settleFor, verdict)
	}
	return nil
}

// standing is how a tenant's leases and accounts stand to each other.
type standing struct {
	tenant   string
	leases   []string
	accounts []workload.Account
}

func (f *fire) standing(ctx context.Context, root *api.Client, t tenancy.Tenant) (standing, error) {
	s := standing{tenant: t.Name}
	var err error
	if s.leases, err = workload.Leases(ctx, root, t); err != nil {
		return s, err
	}
	s.accounts, err = f.database.Accounts(ctx, t)
	return s, err
}

// accounted judges whether each lease has an account and each account a lease; current is
// the account that the application comes in with.
func (s standing) accounted(current string, now time.Time) error {
	var names, old []string
	found := current == ""
	for _, a := range s.accounts {
		names = append(names, a.Name)
		found = found || a.Name == current
		if a.ValidUntil.Before(now.Add(-lateDrop)) {
			old = append(old, a.Name+" (valid until "+trial.Clock(a.ValidUntil)+")")
		}
	}
	switch {
	case len(old) > 0:
		return fmt.Errorf("tenant %s: the accounts %s are left behind in PostgreSQL at %s; want each dropped when its lease ends", s.tenant, strings.Join(old, ", "), trial.Clock(now))
	case len(s.accounts) > len(s.leases):
		return fmt.Errorf("tenant %s: PostgreSQL has %d accounts (%s) and Vault %d leases (%s); want no account left behind without a lease",
			s.tenant, len(s.accounts), strings.Join(names, ", "), len(s.leases), strings.Join(s.leases, ", "))
	case len(s.accounts) < len(s.leases):
		return fmt.Errorf("tenant %s: Vault has %d leases (%s) and PostgreSQL %d accounts (%s); want no lease whose account is lost",
			s.tenant, len(s.leases), strings.Join(s.leases, ", "), len(s.accounts), strings.Join(names, ", "))
	case !found:
		return fmt.Errorf("tenant %s: account %s, with which the application comes in, is not among those of PostgreSQL (%s)", s.tenant, current, strings.Join(names, ", "))
	}
	return nil
}

// emptied judges whether nothing is left when all leases were ended.
func (s standing) emptied() error {
	if len(s.accounts) == 0 && len(s.leases) == 0 {
		return nil
	}
	var names []string
	for _, a := range s.accounts {
		names = append(names, a.Name)
	}
	return fmt.Errorf("tenant %s: all leases were ended, and there are still the leases %q and the accounts %q; want none", s.tenant, s.leases, names)
}

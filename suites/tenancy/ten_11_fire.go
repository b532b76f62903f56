package tenancy

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/hashicorp/vault/api"

	"github.com/vaultproof/vaultproof/fixtures/tenant/journal"
	"github.com/vaultproof/vaultproof/fixtures/tenant/workload"
	"github.com/vaultproof/vaultproof/pkg/conformance"
	"github.com/vaultproof/vaultproof/pkg/probe"
	"github.com/vaultproof/vaultproof/pkg/target"
	"github.com/vaultproof/vaultproof/pkg/tenancy"
	"github.com/vaultproof/vaultproof/suites/trial"
)

const (
	// fireRate is how many logins start in a second, of all tenants together.
	fireRate = 50
	// fireTokens is how many seconds a token of such a login lives: nobody uses it, and
	// there are 50 more each second.
	fireTokens = 60
	// appRate is how many operations of each kind an application starts in a second:
	// deploy/tenant tells it so.
	appRate = 4
	// accountTTL and accountMaxTTL are how many seconds an account in PostgreSQL lives
	// without, and with, being renewed: longer than any outage, and shorter than the check.
	accountTTL, accountMaxTTL = 60, 150
	// inStep is how far the clocks of the tenants' node and of this machine may be apart.
	inStep = time.Second
)

// fire is what tenants do while Vault is broken.
type fire struct {
	r        *conformance.Case
	env      *Env
	database *workload.Database
	apps     []*workload.App
	logins   *probe.Prober
	ledger   ledger
}

// underFire gives each tenant a database, an application and a share of the logins. All of
// it goes with the check.
func (e *Env) underFire(ctx context.Context, r *conformance.Case) (*fire, error) {
	database, err := workload.OpenDatabase(ctx, e.Cluster)
	if errors.Is(err, workload.ErrNoDatabase) {
		return nil, r.Skip("%v: `make tenants` installs it", err)
	} else if err != nil {
		return nil, r.CannotTell(err)
	}
	f := &fire{r: r, env: e, database: database, ledger: ledger{}}
	entrance, err := workload.FindEntrance(ctx, r.Target, e.Door.Host)
	if err != nil {
		return nil, r.CannotTell(err)
	}
	// At the end leases are looked up, and ended, as root: who cannot be need not begin.
	err = r.Target.WithRoot(ctx, func(context.Context, *api.Client) error { return nil })
	if errors.Is(err, target.ErrNoPrivilege) {
		return nil, r.Skip("the leases on the tenants' accounts cannot be looked up: %v", err)
	} else if err != nil {
		return nil, r.CannotTell(err)
	}
	for _, t := range e.both() {
		if err := f.furnish(ctx, t, entrance); err != nil {
			return nil, r.CannotTell(err)
		}
	}
	if err := f.startLogins(ctx, entrance); err != nil {
		return nil, r.CannotTell(err)
	}
	return f, r.CannotTell(f.note(ctx))
}

// furnish connects a tenant's database and deploys the tenant's application.
func (f *fire) furnish(ctx context.Context, t tenancy.Tenant, entrance workload.Entrance) error {
	f.r.Defer(func(ctx context.Context) error { return f.database.Leave(ctx, t) })
	f.r.Defer(func(ctx context.Context) error {
		return f.r.Target.WithRoot(ctx, func(ctx context.Context, root *api.Client) error { return workload.EndLeases(ctx, root, t) })
	})
	if err := f.env.guests(f.r).account(ctx, t.Namespace, workload.PlaceOf(t).Owner); err != nil {
		return err
	}
	// What a run that died has left would pass for what Vault leaves behind.
	if err := f.database.Leave(ctx, t); err != nil {
		return err
	}
	if err := f.database.Connect(ctx, f.env.Door, t); err != nil {
		return err
	}
	if err := f.hurry(ctx, t); err != nil {
		return err
	}
	app, err := workload.DeployApp(ctx, f.env.Cluster, t, workload.Means{Entrance: entrance, CA: f.r.Target.CA, Database: f.database})
	if app != nil {
		f.apps = append(f.apps, app)
		f.r.Defer(app.Remove)
	}
	return err
}

// startLogins has a prober in the tenant cluster log in as each tenant.
func (f *fire) startLogins(ctx context.Context, entrance workload.Entrance) error {
	var logins []probe.Login
	for _, app := range f.apps {
		t := app.Tenant
		role, err := f.shortRole(ctx, t)
		if err != nil {
			return err
		}
		jwt, err := f.env.Cluster.Token(ctx, t.Namespace, t.ServiceAccount, t.Audience, ten11.Timeout)
		if err != nil {
			return err
		}
		logins = append(logins, probe.Login{
			Route: t.Mount, Address: entrance.URL(), ServerName: entrance.Host, Via: entrance.Address.String(),
			Mount: t.Mount, Role: role, JWT: jwt, Rate: fireRate / float64(len(f.apps)),
		})
	}
	prober, err := probe.Start(ctx, f.env.Cluster.Config, probe.Options{
		RunID: f.r.ID, Address: entrance.URL(), ServerName: entrance.Host, CA: f.r.Target.CA, Rate: -1, Logins: logins, Log: f.r.Log,
	})
	if err != nil {
		return fmt.Errorf("starting the logins from the tenant cluster: %w", err)
	}
	f.logins = prober
	f.r.Defer(prober.Stop)
	return nil
}

// shortRole makes a role like the tenant's own whose tokens end soon. It goes with the check.
func (f *fire) shortRole(ctx context.Context, t tenancy.Tenant) (string, error) {
	name, err := f.env.likeTheTenants(ctx, f.r, t, t.Namespace, t.ServiceAccount)
	if err != nil {
		return "", err
	}
	return name, write(ctx, f.r, rolePath(t, name), map[string]any{"token_ttl": fireTokens, "token_max_ttl": fireTokens})
}

// hurry gives the tenant's accounts in PostgreSQL a life so short that leases on them are
// renewed, and replaced, while faults go on. It is as before when the check is over.
func (f *fire) hurry(ctx context.Context, t tenancy.Tenant) error {
	path := t.Database + "/roles/" + t.Role
	before, err := readMap(ctx, f.r, path)
	if err != nil {
		return err
	}
	f.r.Defer(func(ctx context.Context) error {
		return write(ctx, f.r, path, map[string]any{"default_ttl": before["default_ttl"], "max_ttl": before["max_ttl"]})
	})
	return write(ctx, f.r, path, map[string]any{"default_ttl": accountTTL, "max_ttl": accountMaxTTL})
}

// seen collects what the tenants saw of a trial.
func (f *fire) seen(ctx context.Context, res trial.Result) ([]series, error) {
	if err := f.logins.Err(); err != nil {
		return nil, err
	}
	all := []series{{
		name: "login", what: "the tenants' logins through the ingress", rate: fireRate,
		events: probe.Events(f.logins.Between(began(res), res.End), probe.LoginKind),
	}}
	for _, app := range f.apps {
		entries, err := app.Entries(ctx, began(res))
		if err != nil {
			return nil, err
		}
		if err := keepStep(entries, time.Now()); err != nil {
			return nil, fmt.Errorf("the application of tenant %s: %w", app.Tenant.Name, err)
		}
		f.ledger.used(app.Tenant, entries)
		for _, kind := range []struct {
			kind   journal.Kind
			what   string
			spared bool
		}{
			{journal.KV, "reads of a secret by", false},
			{journal.Transit, "encryptions for", false},
			{journal.Postgres, "connections to PostgreSQL by", true},
		} {
			all = append(all, series{
				name: app.Tenant.Mount + "_" + string(kind.kind), what: kind.what + " tenant " + app.Tenant.Name,
				rate: appRate, spared: kind.spared, events: journal.Events(entries, kind.kind),
			})
		}
	}
	return all, f.note(ctx)
}

// keepStep tells whether the application's clock is in step with ours: the last of its
// operations ended just now.
func keepStep(entries []journal.Entry, now time.Time) error {
	if len(entries) == 0 {
		return errors.New("it has told of nothing")
	}
	var last time.Time
	for _, e := range entries {
		if e.End().After(last) {
			last = e.End()
		}
	}
	if last.After(now.Add(inStep)) || last.Before(now.Add(-inStep-waits)) {
		return fmt.Errorf("the last it has told of ended at %s, and it is %s here: either it has stopped, or the clock of its node is wrong", trial.Clock(last), trial.Clock(now))
	}
	return nil
}

// running judges whether every container of the applications is the one that was started.
func (f *fire) running(ctx context.Context) error {
	for _, app := range f.apps {
		text, err := app.Restarted(ctx)
		if err != nil {
			return f.r.CannotTell(err)
		}
		if text != "" {
			return fmt.Errorf("%s, want an application and an agent that sit out a fault of Vault", text)
		}
	}
	return nil
}

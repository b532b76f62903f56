package tenancy

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"time"

	"github.com/onsi/ginkgo/v2"
	"k8s.io/apimachinery/pkg/util/wait"

	"github.com/vaultproof/vaultproof/pkg/conformance"
	"github.com/vaultproof/vaultproof/pkg/fault"
	"github.com/vaultproof/vaultproof/pkg/target"
	"github.com/vaultproof/vaultproof/pkg/tenancy"
	"github.com/vaultproof/vaultproof/suites/trial"
)

const (
	// knockEvery is how often somebody tries to log in.
	knockEvery = 500 * time.Millisecond
	// outOfReach is how long the tenants' API server stays out of reach after the witness.
	outOfReach = 20 * time.Second
	// outMargin is how much longer than that the partition lasts if the run dies, the search
	// for its witness included.
	outMargin = 60 * time.Second
	// overdue is how much later than its own deadline a login may end on a busy machine.
	overdue = time.Second
	// backWithin is how long after the partition somebody must be let in again: Vault finds
	// out that its connections are dead at their next use.
	backWithin = 30 * time.Second
	// closedAfter is from when after the injection nobody may be let in: a login that was
	// under way is done by then.
	closedAfter = patience
)

// An API server that is only stopped refuses connections, and Vault says so at once. This is
// the worse case: packets vanish. Vault itself would wait for 30 s for a connection, and has
// no setting for less, so what ends a login is the deadline of whoever logs in.
var ten08 = conformance.Check{
	ID: "TEN-08", Area: area, Level: conformance.Must,
	Assertion: "while the tenants' API server does not answer nobody gets in by it, whoever tries is rid of it after 5 s, tokens that tenants have go on working, and nobody else notices",
	Source:    "HashiCorp Vault, auth/kubernetes: every login is reviewed; design: a mount of its own for each tenant",
	Observe:   "Vault's pods cut off from the tenants' API server (drop counters in their network namespaces as witness), two logins a second before, during and after, a tenant's reads of its own secrets meanwhile, and the load on all other mounts",
	Timeout:   15 * time.Minute,
}

var _ = conformance.It(ten08, conformance.Chaos, func(ctx ginkgo.SpecContext, r *conformance.Case) error {
	env, err := tenants(ctx, r)
	if err != nil {
		return err
	}
	siege, err := env.besiege(ctx, r)
	if err != nil {
		return r.CannotTell(err)
	}
	defer siege.end()
	var hit trial.Struck
	res, err := trial.Run(ctx, r, 1, trial.Plan{
		Make: func(_ context.Context, states []target.PodState, _ target.PodState) (fault.Fault, error) {
			cut := &fault.TenantPartition{Env: r.Faults, Server: env.Cluster.APIServer, Duration: outOfReach + outMargin}
			for _, s := range states {
				cut.Pods = append(cut.Pods, s.Pod.Name)
			}
			return cut, nil
		},
		Hold: func(ctx context.Context, h trial.Struck) error {
			hit = h
			siege.closed = time.Now() // there is a witness
			defer func() { siege.lifting = time.Now() }()
			return trial.FlowUntil(ctx, r, siege.closed.Add(outOfReach))
		},
		Outage: r.Budget,
	})
	if err != nil {
		return err
	}
	siege.closed = later(siege.closed, hit.At.Add(closedAfter))
	siege.opened = res.Undone
	if err := siege.reopened(ctx); err != nil {
		return err
	}
	siege.end()
	siege.measure(r)
	if err := siege.judge(); err != nil {
		return err
	}
	return trial.HeldToBudget(r, []trial.Result{res}, r.Budget)
})

// siege is what tenants saw while their API server was out of reach.
type siege struct {
	env     *Env
	logins  *flow
	reads   *flow
	knock   func(context.Context) outcome
	knocked []outcome
	read    []outcome
	// Nobody may be let in from closed until lifting, when the partition begins to be undone;
	// opened is when it was.
	closed, lifting, opened time.Time
}

// besiege starts the logins, and reads with a token from before, which both go on until the
// end.
func (e *Env) besiege(ctx context.Context, r *conformance.Case) (*siege, error) {
	jwt, err := e.Cluster.Token(ctx, e.A.Namespace, e.A.ServiceAccount, "", time.Hour)
	if err != nil {
		return nil, err
	}
	login := attempt{what: "the tenant's service account", mount: e.A.Mount, role: e.A.Role, jwt: jwt}
	inside := e.try(ctx, login)
	if err := admitted(inside, e.A.Policy); err != nil {
		return nil, fmt.Errorf("before the fault: %w", err)
	}
	r.Defer(func(ctx context.Context) error { return e.giveBack(ctx, inside.auth) })
	client, err := e.Door.Client(inside.auth.ClientToken)
	if err != nil {
		return nil, err
	}
	secret := request{http.MethodPut, e.A.KV + "/data/ten-08", map[string]any{"data": map[string]any{"of": e.A.Name}}}
	if err := e.firstWrite(ctx, func(ctx context.Context) int { return secret.do(ctx, client) }); err != nil {
		return nil, err
	}
	secret.method = http.MethodGet
	s := &siege{env: e, knock: func(ctx context.Context) outcome { return e.try(ctx, login) }}
	s.logins = flowing(ctx, knockEvery, s.knock)
	s.reads = flowing(ctx, knockEvery, func(ctx context.Context) outcome {
		o := outcome{attempt: attempt{what: secret.String()}, began: time.Now()}
		if status := secret.do(ctx, client); status != http.StatusOK {
			o.err = fmt.Errorf("%s got status %d", secret, status)
		}
		o.took = time.Since(o.began)
		return o
	})
	return s, nil
}

// firstWrite repeats the first write to a mount, which refuses it while it sets itself up.
func (e *Env) firstWrite(ctx context.Context, write func(context.Context) int) error {
	ctx, cancel := context.WithTimeout(ctx, 20*time.Second)
	defer cancel()
	last := 0
	err := wait.PollUntilContextCancel(ctx, knockEvery, true, func(ctx context.Context) (bool, error) {
		last = write(ctx)
		return last == http.StatusOK, nil
	})
	if err != nil {
		return fmt.Errorf("a tenant's first write to its secrets gets status %d: %w", last, err)
	}
	return nil
}

// end stops logins and reads, once.
func (s *siege) end() { s.knocked, s.read = s.logins.end(), s.reads.end() }

// reopened waits until somebody is let in again.
func (s *siege) reopened(ctx context.Context) error {
	ctx, cancel := context.WithDeadline(ctx, s.opened.Add(backWithin))
	defer cancel()
	last := errors.New("nobody tried")
	err := wait.PollUntilContextCancel(ctx, knockEvery, true, func(ctx context.Context) (bool, error) {
		o := s.knock(ctx)
		if o.err != nil {
			last = o.err
		}
		return o.err == nil, nil
	})
	if err != nil {
		return fmt.Errorf("%s after the tenants' API server was in reach again, at %s, Vault still lets nobody in: %w", backWithin, clock(s.opened), last)
	}
	return nil
}

// during are those that began and ended while the API server was out of reach.
func (s *siege) during(all []outcome) []outcome {
	var some []outcome
	for _, o := range all {
		if o.began.After(s.closed) && o.began.Add(o.took).Before(s.lifting) {
			some = append(some, o)
		}
	}
	return some
}

// judge judges what tenants saw.
func (s *siege) judge() error {
	tried := s.during(s.knocked)
	if len(tried) == 0 {
		return errors.New("nobody tried to log in while the tenants' API server was out of reach, so it is not known what Vault does")
	}
	for _, o := range tried {
		if o.auth != nil {
			return fmt.Errorf("a login at auth/%s succeeded at %s while the API server that reviews it was out of reach, since %s: want Vault to fail closed", o.mount, clock(o.began), clock(s.closed))
		}
		if o.took > patience+overdue {
			return fmt.Errorf("a login at auth/%s, given up after %s at %s, took %s to end", o.mount, patience, clock(o.began), o.took.Round(time.Millisecond))
		}
	}
	reads := s.during(s.read)
	if len(reads) == 0 {
		return errors.New("no tenant read anything while its API server was out of reach, so it is not known whether it could")
	}
	for _, o := range reads {
		if o.err != nil {
			return fmt.Errorf("with the API server out of reach since %s a tenant's token from before is of no use at %s, want it good until its end: %w", clock(s.closed), clock(o.began), o.err)
		}
	}
	return nil
}

// measure puts the numbers into the report.
func (s *siege) measure(r *conformance.Case) {
	tried := s.during(s.knocked)
	answered := 0
	for _, o := range tried {
		if tenancy.Status(o.err) != 0 {
			answered++
		}
	}
	r.Measure("logins_failed_closed_total", float64(len(tried)))
	r.Measure("logins_answered_total", float64(answered))
	r.Measure("slowest_login_ms", float64(slowest(tried).Milliseconds()))
	r.Measure("slowest_read_ms", float64(slowest(s.during(s.read)).Milliseconds()))
}

func later(a, b time.Time) time.Time {
	if a.After(b) {
		return a
	}
	return b
}

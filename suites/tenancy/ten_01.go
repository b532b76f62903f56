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
	"github.com/vaultproof/vaultproof/pkg/tenancy"
)

const (
	// leeway is how much longer than it says a token may be good: Kubernetes allows for
	// clocks that differ by a minute and remembers for ten seconds whom it has
	// authenticated.
	leeway = 90 * time.Second
	// lookAgain is how often a token is tried that is to become useless.
	lookAgain = 5 * time.Second
)

var ten01 = conformance.Check{
	ID: "TEN-01", Area: area, Level: conformance.Must,
	// A token cannot be made for less than ten minutes. By the time all others are through,
	// the one that was made when the tenants were set up has most of them behind it.
	Last:      true,
	Assertion: "the service account that a tenant's role is bound to logs in and gets that role's policy alone; one of another namespace, name, tenant or cluster gets 403, and so does a token for another audience, past its end, of an account that is gone, or without a good signature",
	Source:    "HashiCorp Vault, auth/kubernetes: roles and audiences; Kubernetes, service account tokens",
	Observe:   "logins through the ingress with tokens that the tenant's API server made, and with forged ones; accounts that must be kept out may ask for reviews, so that the role alone is what stops them",
	// A token lives for ten minutes at least, and its end is waited for.
	Timeout: tenancy.ShortestToken + 10*time.Minute,
}

var _ = conformance.It(ten01, conformance.Conformance, func(ctx ginkgo.SpecContext, r *conformance.Case) error {
	env, err := tenants(ctx, r)
	if err != nil {
		return err
	}
	data, err := readMap(ctx, r, rolePath(env.A, env.A.Role))
	if err != nil {
		return r.CannotTell(err)
	}
	role, err := roleIn(data)
	if err != nil {
		return r.CannotTell(err)
	}
	if err := role.bound(env.A); err != nil {
		return err
	}
	right, strangers, err := env.matrix(ctx, r)
	if err != nil {
		return r.CannotTell(err)
	}
	let, err := env.tryOnce(ctx, right)
	if err != nil {
		return r.CannotTell(err)
	}
	if err := admitted(let, env.A.Policy); err != nil {
		return err
	}
	var outcomes []outcome
	for _, stranger := range strangers {
		o, err := env.tryOnce(ctx, stranger)
		if err != nil {
			return r.CannotTell(err)
		}
		outcomes = append(outcomes, o)
	}
	r.Measure("refused_logins_total", float64(len(outcomes)))
	if err := silent(outcomes); err != nil {
		return r.CannotTell(err)
	}
	if err := refused(outcomes); err != nil {
		return err
	}
	return env.expires(ctx, r)
})

// matrix makes the one attempt that must succeed and those that must not.
func (e *Env) matrix(ctx context.Context, r *conformance.Case) (right attempt, strangers []attempt, err error) {
	ask := func(what, namespace, account, audience string) attempt {
		if err != nil {
			return attempt{}
		}
		var token string
		token, err = e.Cluster.Token(ctx, namespace, account, audience, tenancy.ShortestToken)
		return attempt{what: what, mount: e.A.Mount, role: e.A.Role, jwt: token}
	}
	own, other, gone := e.A.Namespace, "vaultproof-other", "vaultproof-gone"
	g := e.guests(r)
	elsewhere, err := g.namespace(ctx)
	for _, account := range []struct{ namespace, name string }{{elsewhere, e.A.ServiceAccount}, {own, other}, {elsewhere, gone}} {
		if err == nil {
			err = g.account(ctx, account.namespace, account.name)
		}
	}
	right = ask("the tenant's service account", own, e.A.ServiceAccount, "")
	strangers = []attempt{
		ask("a service account of the same name in another namespace", elsewhere, e.A.ServiceAccount, ""),
		ask("another service account of the same namespace", own, other, ""),
		ask("a token of the right account for another audience", own, e.A.ServiceAccount, "vaultproof-nobody"),
		ask("the service account of another tenant", e.B.Namespace, e.B.ServiceAccount, ""),
	}
	if err != nil {
		return right, nil, err
	}
	outlived, err := e.outlived(ctx, r, elsewhere, gone)
	if err != nil {
		return right, nil, err
	}
	forged, err := signedElsewhere(right.jwt)
	if err != nil {
		return right, nil, err
	}
	bare, err := unsigned(right.jwt)
	if err != nil {
		return right, nil, err
	}
	say := func(what, jwt string) attempt {
		return attempt{what: what, mount: e.A.Mount, role: e.A.Role, jwt: jwt}
	}
	return right, append(strangers, outlived,
		say("a token with the right claims that another cluster signed", forged),
		say("a token with the right claims and no signature", bare),
		say("what is no token at all", "vaultproof.is.nobody"),
	), nil
}

// outlived deletes an account that a role is bound to and makes another one of its name: the
// token of the first must not pass for one of the second.
func (e *Env) outlived(ctx context.Context, r *conformance.Case, namespace, account string) (attempt, error) {
	role, err := e.likeTheTenants(ctx, r, e.A, namespace, account)
	if err != nil {
		return attempt{}, err
	}
	token, err := e.Cluster.Token(ctx, namespace, account, "", tenancy.ShortestToken)
	if err != nil {
		return attempt{}, err
	}
	g := e.guests(r)
	if err := g.deleteAccount(ctx, namespace, account); err != nil {
		return attempt{}, fmt.Errorf("deleting service account %s/%s of the tenant cluster: %w", namespace, account, err)
	}
	if err := g.account(ctx, namespace, account); err != nil {
		return attempt{}, err
	}
	return attempt{what: "a token of an account that was deleted and made anew", mount: e.A.Mount, role: role, jwt: token}, nil
}

// expires waits for the end of the token that was made when the tenants were set up, and
// judges whether it lets nobody in any more.
func (e *Env) expires(ctx context.Context, r *conformance.Case) error {
	old := attempt{what: "a token past its end", mount: e.A.Mount, role: e.A.Role, jwt: e.short.token}
	judge := expiry{ends: e.short.ends}
	ctx, cancel := context.WithDeadline(ctx, e.short.ends.Add(leeway+time.Minute))
	defer cancel()
	err := wait.PollUntilContextCancel(ctx, lookAgain, true, func(ctx context.Context) (bool, error) {
		o, err := e.tryOnce(ctx, old)
		if err != nil {
			return false, r.CannotTell(err)
		}
		return judge.take(o)
	})
	if judge.last != nil && ctx.Err() != nil {
		return r.CannotTell(judge.last)
	}
	if err != nil {
		return err
	}
	r.Measure("good_after_its_end_ms", float64(max(0, judge.good.Sub(judge.ends)).Milliseconds()))
	return nil
}

// expiry judges, one after another, logins with a token that comes to its end.
type expiry struct {
	ends time.Time // of the token, as it says
	good time.Time // when it was good the last time
	last error     // why nothing was learned the last time; nil if something was
}

// take tells whether the token is past its end and refused, and is an error if it is refused
// before or good for too long.
func (x *expiry) take(o outcome) (over bool, err error) {
	x.last = nil
	switch {
	case o.status() == http.StatusForbidden && o.began.Before(x.ends.Add(-time.Minute)):
		return false, fmt.Errorf("a token good until %s was refused at %s: %w", clock(x.ends), clock(o.began), o.err)
	case o.status() == http.StatusForbidden && o.began.Before(x.ends):
		return false, nil // a clock may be ahead
	case o.status() == http.StatusForbidden:
		return true, nil
	case o.auth == nil:
		x.last = errors.Join(errors.New("Vault did not say whether a token past its end is good"), o.err)
		return false, nil
	}
	x.good = o.began
	if x.good.After(x.ends.Add(leeway)) {
		return false, fmt.Errorf("a token that ended at %s still lets in at %s, want 403 within %s", clock(x.ends), clock(x.good), leeway)
	}
	return false, nil
}

// clock makes an instant fit for a message.
func clock(t time.Time) string { return t.UTC().Format("15:04:05.000") }

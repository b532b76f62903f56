package tenancy

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"sync/atomic"
	"time"

	"github.com/onsi/ginkgo/v2"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/vaultproof/vaultproof/pkg/conformance"
	"github.com/vaultproof/vaultproof/pkg/issuer"
	"github.com/vaultproof/vaultproof/pkg/tenancy"
)

const (
	// loginRate is how many logins begin in a second.
	loginRate = 20
	// between is how long logins go on between two steps of a rotation.
	between = 3 * time.Second
	// reviewer is the account that reviews for all where a mount has one.
	reviewer = "vaultproof-reviewer"
)

// What reviews a token of a tenant is, in the stack, the token itself: Vault shows it to the
// API server as its own credential. (Vault's own token would not do, since another cluster
// made it, and a token that one account has for all of them would be a secret to keep.) So
// what rotates is each client's token, as the kubelet replaces it, and the CA that Vault
// trusts. The way with one reviewer for all is tried too, because a Vault that is not the
// stack's may work so: there the reviewer's token is replaced by another and then worth
// nothing.
var ten02 = conformance.Check{
	ID: "TEN-02", Area: area, Level: conformance.Must,
	Assertion: "replacing what tokens are reviewed with (the client's own token, the CA of the API server, a reviewer's token) costs no login at 20 a second",
	Source:    "hashicorp/vault#12855, #14072; bank-vaults#1647",
	Observe:   "20 logins a second through the ingress while a client's token is made anew, the CA in the mount's configuration gets a second one and loses it, and a reviewer comes, is replaced and revoked, and goes",
	Timeout:   10 * time.Minute,
}

var _ = conformance.It(ten02, conformance.Conformance, func(ctx ginkgo.SpecContext, r *conformance.Case) error {
	env, err := tenants(ctx, r)
	if err != nil {
		return err
	}
	turn, err := env.rotation(ctx, r)
	if err != nil {
		return err
	}
	if err := turn.renew(ctx); err != nil {
		return r.CannotTell(err)
	}
	if err := admitted(turn.login(ctx), env.A.Policy); err != nil {
		return r.CannotTell(fmt.Errorf("before anything was rotated: %w", err))
	}
	began := time.Now()
	logins := flowing(ctx, time.Second/loginRate, turn.login)
	defer logins.end()
	for _, step := range turn.steps() {
		if err := pause(ctx, between); err != nil {
			return r.CannotTell(err)
		}
		r.Note("%s", step.what)
		if err := step.do(ctx); err != nil {
			return r.CannotTell(fmt.Errorf("%s: %w", step.what, err))
		}
	}
	if err := pause(ctx, between); err != nil {
		return r.CannotTell(err)
	}
	lasted := time.Since(began)
	outcomes := logins.end()
	r.Measure("logins_total", float64(len(outcomes)))
	r.Measure("slowest_login_ms", float64(slowest(outcomes).Milliseconds()))
	if err := turn.restored(ctx); err != nil {
		return r.CannotTell(err)
	}
	if want := int(lasted.Seconds() * loginRate * 9 / 10); len(outcomes) < want {
		return r.Inconclusive("%d logins began in %s, want %d at least: the machine is too busy to tell", len(outcomes), lasted.Round(time.Second), want)
	}
	return costless(outcomes)
})

// rotation replaces what tokens are reviewed with.
type rotation struct {
	env    *Env
	r      *conformance.Case
	token  atomic.Pointer[string] // that the client has now
	before map[string]any         // the configuration as it was found
	ca     []byte                 // another one, for a time in which two are trusted
	guests *guests
	space  string // namespace of the reviewer
	put    func(ctx context.Context, path string, data map[string]any) error
}

func configPath(tenant tenancy.Tenant) string { return "auth/" + tenant.Mount + "/config" }

// rotation looks at the configuration that is to be changed, and has it put right when the
// check is over, however it ends.
func (e *Env) rotation(ctx context.Context, r *conformance.Case) (*rotation, error) {
	before, err := readMap(ctx, r, configPath(e.A))
	if err != nil {
		return nil, r.CannotTell(err)
	}
	if set, _ := before["token_reviewer_jwt_set"].(bool); set {
		return nil, fmt.Errorf("%s holds a reviewer's token, want none: it is a secret that somebody has to rotate, and it could not be put back after a trial", configPath(e.A))
	}
	ca, err := issuer.NewCA("a CA to come", time.Hour)
	if err != nil {
		return nil, r.CannotTell(err)
	}
	t := &rotation{env: e, r: r, before: before, ca: ca.PEM(), guests: e.guests(r)}
	t.put = func(ctx context.Context, path string, data map[string]any) error { return write(ctx, r, path, data) }
	if t.space, err = t.guests.namespace(ctx); err != nil {
		return nil, r.CannotTell(err)
	}
	r.Defer(func(ctx context.Context) error { return t.configure(ctx, nil) })
	return t, nil
}

// step is one part of a rotation.
type step struct {
	what string
	do   func(context.Context) error
}

func (t *rotation) steps() []step {
	return []step{
		{"the client's token is made anew", t.renew},
		{"a second CA is trusted", func(ctx context.Context) error {
			return t.configure(ctx, map[string]any{"kubernetes_ca_cert": t.bothCAs()})
		}},
		{"the second CA is trusted no more", func(ctx context.Context) error { return t.configure(ctx, nil) }},
		{"one account reviews for all", func(ctx context.Context) error { return t.appoint(ctx, "first") }},
		{"its token is replaced by another one", func(ctx context.Context) error { return t.appoint(ctx, "second") }},
		{"the token that was replaced is revoked", func(ctx context.Context) error { return t.revoke(ctx, "first") }},
		{"clients review for themselves again", func(ctx context.Context) error { return t.configure(ctx, nil) }},
		{"the client's token is made anew once more", t.renew},
	}
}

// bothCAs are the CA that was found and the one to come.
func (t *rotation) bothCAs() string {
	trusted, _ := t.before["kubernetes_ca_cert"].(string)
	return trusted + "\n" + string(t.ca)
}

// login logs in with the token that the client has at that moment.
func (t *rotation) login(ctx context.Context) outcome {
	return t.env.try(ctx, attempt{what: "the tenant's service account", mount: t.env.A.Mount, role: t.env.A.Role, jwt: *t.token.Load()})
}

// renew gives the client a new token, as the kubelet does before the old one ends.
func (t *rotation) renew(ctx context.Context) error {
	token, err := t.env.Cluster.Token(ctx, t.env.A.Namespace, t.env.A.ServiceAccount, "", tenancy.ShortestToken)
	if err != nil {
		return err
	}
	t.token.Store(&token)
	return nil
}

// configure writes the configuration that was found, with changes.
func (t *rotation) configure(ctx context.Context, changes map[string]any) error {
	data := maps.Clone(t.before)
	delete(data, "token_reviewer_jwt_set")
	maps.Copy(data, changes)
	return t.put(ctx, configPath(t.env.A), data)
}

// appoint has a token of the reviewer's account, which ends with a Secret of this name,
// review for all.
func (t *rotation) appoint(ctx context.Context, name string) error {
	if name == "first" {
		if err := t.guests.account(ctx, t.space, reviewer); err != nil {
			return err
		}
	}
	client := t.env.Cluster.Client.CoreV1()
	anchor, err := client.Secrets(t.space).Create(ctx, &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Namespace: t.space, Name: name, Labels: marks(t.r.ID)}}, metav1.CreateOptions{})
	if err != nil {
		return fmt.Errorf("creating Secret %s/%s, empty, that a reviewer's token is bound to: %w", t.space, name, err)
	}
	token, err := t.env.Cluster.SecretToken(ctx, anchor, reviewer, tenancy.ShortestToken)
	if err != nil {
		return err
	}
	return t.configure(ctx, map[string]any{"token_reviewer_jwt": token})
}

// revoke ends the token that is bound to a Secret.
func (t *rotation) revoke(ctx context.Context, name string) error {
	if err := t.env.Cluster.Client.CoreV1().Secrets(t.space).Delete(ctx, name, metav1.DeleteOptions{}); err != nil {
		return fmt.Errorf("deleting Secret %s/%s, which a reviewer's token is bound to: %w", t.space, name, err)
	}
	return nil
}

// restored makes sure that the configuration is as it was found.
func (t *rotation) restored(ctx context.Context) error {
	now, err := readMap(ctx, t.r, configPath(t.env.A))
	if err != nil {
		return err
	}
	return same(configPath(t.env.A), t.before, now)
}

// same compares what Vault told of a path before and after.
func same(path string, before, now map[string]any) error {
	keys := maps.Clone(before)
	maps.Copy(keys, now)
	for key := range keys {
		if was, is := fmt.Sprint(before[key]), fmt.Sprint(now[key]); was != is {
			return fmt.Errorf("%s has %s %q after the check, it was %q", path, key, is, was)
		}
	}
	return nil
}

// costless judges logins that must all succeed.
func costless(outcomes []outcome) error {
	var failed []outcome
	for _, o := range outcomes {
		if o.auth == nil {
			failed = append(failed, o)
		}
	}
	switch {
	case len(outcomes) == 0:
		return errors.New("nobody logged in during the rotation")
	case len(failed) > 0:
		return fmt.Errorf("%d of %d logins at auth/%s failed during the rotation, want none; the first at %s with status %d: %w",
			len(failed), len(outcomes), failed[0].mount, clock(failed[0].began), failed[0].status(), failed[0].err)
	}
	return nil
}

// slowest is how long the slowest login took.
func slowest(outcomes []outcome) (worst time.Duration) {
	for _, o := range outcomes {
		worst = max(worst, o.took)
	}
	return worst
}

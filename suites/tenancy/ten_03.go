package tenancy

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"time"

	"github.com/onsi/ginkgo/v2"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/wait"

	"github.com/vaultproof/vaultproof/pkg/conformance"
	"github.com/vaultproof/vaultproof/pkg/tenancy"
)

const (
	// fadesWithin is how long a token may outlive its owner: an API server remembers for ten
	// seconds whom it has authenticated.
	fadesWithin = 10 * time.Second
	// fadePatience is how long a token is tried that should have become useless.
	fadePatience = 3 * fadesWithin
	// fadeEvery is how often it is tried.
	fadeEvery = 250 * time.Millisecond
)

var ten03 = conformance.Check{
	ID: "TEN-03", Area: area, Level: conformance.Must, Manner: conformance.Beside,
	Assertion: "when a pod or a service account is deleted in the tenant cluster, its token lets nobody in any more within 10 s, however long it would have lived",
	Source:    "HashiCorp Vault, auth/kubernetes: TokenReview (a role verified by public keys alone does not notice); Kubernetes, bound service account tokens",
	Observe:   "a token bound to a pod, and one of an account, of a role like the tenant's own; logins through the ingress from before the deletion until the first that is refused",
	Timeout:   8 * time.Minute,
}

var _ = conformance.It(ten03, conformance.Conformance, func(ctx ginkgo.SpecContext, r *conformance.Case) error {
	env, err := tenants(ctx, r)
	if err != nil {
		return err
	}
	g := env.guests(r)
	namespace, err := g.namespace(ctx)
	if err != nil {
		return r.CannotTell(err)
	}
	const account = "vaultproof-short-lived"
	if err := g.account(ctx, namespace, account); err != nil {
		return r.CannotTell(err)
	}
	role, err := env.likeTheTenants(ctx, r, env.A, namespace, account)
	if err != nil {
		return r.CannotTell(err)
	}
	pod, err := g.gated(ctx, namespace, account)
	if err != nil {
		return r.CannotTell(err)
	}
	ofPod, err := env.Cluster.PodToken(ctx, pod, tenancy.ShortestToken)
	if err != nil {
		return r.CannotTell(err)
	}
	ofAccount, err := env.Cluster.Token(ctx, namespace, account, "", tenancy.ShortestToken)
	if err != nil {
		return r.CannotTell(err)
	}
	for _, owner := range []owner{
		{"pod", ofPod, func(ctx context.Context) error {
			return g.client.CoreV1().Pods(namespace).Delete(ctx, pod.Name, metav1.DeleteOptions{GracePeriodSeconds: new(int64)})
		}},
		{"account", ofAccount, func(ctx context.Context) error { return g.deleteAccount(ctx, namespace, account) }},
	} {
		if err := env.outlives(ctx, r, role, owner); err != nil {
			return err
		}
	}
	return nil
})

// owner is whose token it is, and how it is deleted.
type owner struct {
	kind   string
	token  string
	delete func(context.Context) error
}

// gated makes a pod that is never scheduled: what its token is worth does not depend on
// whether it runs.
func (g *guests) gated(ctx context.Context, namespace, account string) (*corev1.Pod, error) {
	yes, no := true, false
	pod := &corev1.Pod{
		ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: "owner", Labels: marks(g.run)},
		Spec: corev1.PodSpec{
			ServiceAccountName: account, AutomountServiceAccountToken: &no,
			SchedulingGates: []corev1.PodSchedulingGate{{Name: "vaultproof.dev/never"}},
			Containers: []corev1.Container{{
				Name: "none", Image: "vaultproof.invalid/none",
				SecurityContext: &corev1.SecurityContext{
					AllowPrivilegeEscalation: &no, RunAsNonRoot: &yes,
					Capabilities:   &corev1.Capabilities{Drop: []corev1.Capability{"ALL"}},
					SeccompProfile: &corev1.SeccompProfile{Type: corev1.SeccompProfileTypeRuntimeDefault},
				},
			}},
		},
	}
	made, err := g.client.CoreV1().Pods(namespace).Create(ctx, pod, metav1.CreateOptions{})
	if err != nil {
		return nil, fmt.Errorf("creating pod %s/%s in the tenant cluster: %w", namespace, pod.Name, err)
	}
	return made, nil
}

// outlives deletes the owner of a token and judges how long that still lets in.
func (e *Env) outlives(ctx context.Context, r *conformance.Case, role string, o owner) error {
	login := attempt{what: "the token of a " + o.kind, mount: e.A.Mount, role: role, jwt: o.token}
	before, err := e.tryOnce(ctx, login)
	if err != nil {
		return r.CannotTell(err)
	}
	if err := admitted(before, e.A.Policy); err != nil {
		return r.CannotTell(fmt.Errorf("before the %s was deleted: %w", o.kind, err))
	}
	if err := o.delete(ctx); err != nil {
		return r.CannotTell(fmt.Errorf("deleting the %s of the tenant cluster: %w", o.kind, err))
	}
	f := fading{kind: o.kind, gone: time.Now()}
	limit, cancel := context.WithTimeout(ctx, fadePatience)
	defer cancel()
	err = wait.PollUntilContextCancel(limit, fadeEvery, true, func(ctx context.Context) (bool, error) {
		tried, err := e.tryOnce(ctx, login)
		if err != nil {
			return false, r.CannotTell(err)
		}
		return f.take(tried), nil
	})
	if err != nil && limit.Err() == nil {
		return err
	}
	r.Measure("good_after_"+o.kind+"_ms", float64(f.outlived().Milliseconds()))
	if f.silent != nil && err != nil {
		return r.CannotTell(f.silent)
	}
	return f.judge()
}

// fading is what logins with the token of somebody who is gone showed.
type fading struct {
	kind   string
	gone   time.Time
	good   time.Time // when the last login began that succeeded; zero if none did
	over   bool      // one was refused after it
	silent error     // why the last one was not answered; nil if it was
}

// take tells whether the token is useless now.
func (f *fading) take(o outcome) bool {
	f.silent = nil
	switch {
	case o.auth != nil:
		f.good = o.began
	case o.status() == http.StatusForbidden:
		f.over = true
	default:
		f.silent = errors.Join(fmt.Errorf("Vault did not say whether the token of a %s that is gone is good", f.kind), o.err)
	}
	return f.over
}

// outlived is how long after its owner the token was good.
func (f *fading) outlived() time.Duration { return max(0, f.good.Sub(f.gone)) }

func (f *fading) judge() error {
	if f.over && f.outlived() <= fadesWithin {
		return nil
	}
	return fmt.Errorf("the token of a %s that was deleted at %s still let in at %s, %s later; want 403 within %s",
		f.kind, clock(f.gone), clock(f.good), f.outlived().Round(time.Millisecond), fadesWithin)
}

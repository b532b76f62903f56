package isolation

import (
	"errors"
	"slices"
	"strings"
	"testing"

	authorizationv1 "k8s.io/api/authorization/v1"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/client-go/kubernetes/fake"
	kubetesting "k8s.io/client-go/testing"

	"github.com/vaultproof/vaultproof/pkg/target"
)

func labelled(name string) corev1.Pod {
	p := pod("vault", name, "a", "")
	p.Labels = map[string]string{target.ActiveLabel: "false"}
	return p
}

// answers are those of an API server that allows what rule does.
func answered(rule func(question) bool) (all []answer) {
	for _, q := range questions("vault", []corev1.Pod{labelled("vault-0"), labelled("vault-1")}) {
		all = append(all, answer{q, rule(q), `allowed by RoleBinding "discovery/vault"`})
	}
	return all
}

// byName is the stack's own role.
func byName(q question) bool {
	return q.Resource == "pods" && q.Subresource == "" && strings.HasPrefix(q.Name, "vault-") && slices.Contains([]string{"get", "patch", "delete"}, q.Verb)
}

func TestRights(t *testing.T) {
	says(t, "by name", rights("vault/vault", answered(byName)))
	for name, c := range map[string]struct {
		more func(question) bool
		want []string
	}{
		"all pods": {func(q question) bool {
			return q.Resource == "pods" && q.Subresource == "" && slices.Contains([]string{"get", "list", "patch"}, q.Verb)
		},
			[]string{"service account vault/vault", "may get pods vaultproof-nobody in vault", "may list pods in vault", "RoleBinding \"discovery/vault\""}},
		"exec":        {func(q question) bool { return q.Subresource == "exec" }, []string{"may create pods/exec vault-0 in vault"}},
		"debug":       {func(q question) bool { return q.Subresource == "ephemeralcontainers" }, []string{"may patch pods/ephemeralcontainers vault-1"}},
		"secrets":     {func(q question) bool { return q.Resource == "secrets" && q.Namespace == "vault" && q.Verb == "get" }, []string{"may get secrets in vault ("}},
		"all secrets": {func(q question) bool { return q.Resource == "secrets" }, []string{"list secrets in all namespaces", "get secrets in kube-system"}},
		"tokens":      {func(q question) bool { return q.Subresource == "token" }, []string{"create serviceaccounts/token in vault"}},
		"escalation":  {func(q question) bool { return q.Verb == "escalate" || q.Verb == "bind" }, []string{"escalate roles.rbac.authorization.k8s.io"}},
		"nodes":       {func(q question) bool { return q.Resource == "nodes" }, []string{"get nodes/proxy"}},
		"policies":    {func(q question) bool { return q.Resource == "networkpolicies" }, []string{"delete networkpolicies"}},
		"everything":  {func(question) bool { return true }, []string{"impersonate users", "patch statefulsets.apps"}},
	} {
		says(t, name, rights("vault/vault", answered(func(q question) bool { return byName(q) || c.more(q) })), c.want...)
	}
	says(t, "nothing", rights("vault/vault", answered(func(question) bool { return false })), "may not patch pods vault-1 in vault, which Vault needs")
}

// A Vault that publishes no labels needs no right to do so.
func TestOnlyPublishedPodsNeedRights(t *testing.T) {
	for _, q := range questions("vault", []corev1.Pod{pod("vault", "vault-0", "a", "")}) {
		if q.may {
			t.Errorf("%s is demanded", q)
		}
	}
}

func TestAsk(t *testing.T) {
	client := fake.NewClientset()
	var broken error
	client.PrependReactor("create", "subjectaccessreviews", func(action kubetesting.Action) (bool, runtime.Object, error) {
		review := action.(kubetesting.CreateAction).GetObject().(*authorizationv1.SubjectAccessReview)
		if review.Spec.User != "system:serviceaccount:vault:vault" || !slices.Contains(review.Spec.Groups, "system:serviceaccounts:vault") {
			t.Errorf("asked for %s %v", review.Spec.User, review.Spec.Groups)
		}
		review.Status.Allowed = review.Spec.ResourceAttributes.Verb == "get"
		return true, review, broken
	})
	vault := &target.Target{Namespace: "vault", Client: client}
	for _, verb := range []string{"get", "patch"} {
		q := question{ResourceAttributes: authorizationv1.ResourceAttributes{Verb: verb, Resource: "pods", Name: "vault-0", Namespace: "vault"}}
		if a, err := ask(t.Context(), vault, "vault", q); err != nil || a.allowed != (verb == "get") {
			t.Errorf("%s: %+v (%v)", verb, a, err)
		}
	}
	broken = errors.New("no etcd")
	_, err := ask(t.Context(), vault, "vault", question{ResourceAttributes: authorizationv1.ResourceAttributes{Verb: "get", Resource: "secrets"}})
	says(t, "a broken cluster", err, "vault/vault may get secrets in all namespaces", "no etcd")
}

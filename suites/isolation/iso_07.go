package isolation

import (
	"cmp"
	"context"
	"fmt"
	"strings"

	"github.com/onsi/ginkgo/v2"
	authorizationv1 "k8s.io/api/authorization/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/vaultproof/vaultproof/pkg/conformance"
	"github.com/vaultproof/vaultproof/pkg/target"
)

// nobody is the name of a pod that is none of Vault's.
const nobody = "vaultproof-nobody"

var iso07 = conformance.Check{
	ID: "ISO-07", Area: area, Level: conformance.Must, Manner: conformance.Reads,
	Assertion: "Vault's service account may change labels of the Vault pods by name and of no other pod, and may not read Secrets, enter containers or give itself rights",
	Source:    "vault-on-gke terraform/k8s.tf, resource_names; vault-helm's discovery role covers all pods of the namespace",
	Observe:   "SubjectAccessReviews for the service account of the Vault pods",
}

var _ = conformance.It(iso07, conformance.Conformance, func(ctx ginkgo.SpecContext, r *conformance.Case) error {
	missing, err := r.Target.Missing(ctx, []target.Permission{{Verb: "create", Group: authorizationv1.GroupName, Resource: "subjectaccessreviews"}})
	if err != nil {
		return r.CannotTell(err)
	}
	if len(missing) > 0 {
		return r.Skip("what Vault's service account may do cannot be asked: the user of the kubeconfig may not %s", missing[0])
	}
	template, err := r.Target.Template(ctx)
	if err != nil {
		return r.CannotTell(err)
	}
	pods, err := r.Target.Pods(ctx)
	if err != nil {
		return r.CannotTell(err)
	}
	account := cmp.Or(template.Spec.ServiceAccountName, "default")
	var answers []answer
	for _, q := range questions(r.Target.Namespace, pods) {
		said, err := ask(ctx, r.Target, account, q)
		if err != nil {
			return r.CannotTell(err)
		}
		answers = append(answers, said)
	}
	r.Measure("access_questions_total", float64(len(answers)))
	return rights(r.Target.Namespace+"/"+account, answers)
})

// question is whether the service account may do something, and whether it should.
type question struct {
	authorizationv1.ResourceAttributes
	may bool
}

// String reads like kubectl auth can-i.
func (q question) String() string {
	what := q.Resource
	if q.Subresource != "" {
		what += "/" + q.Subresource
	}
	if q.Group != "" {
		what += "." + q.Group
	}
	if q.Name != "" {
		what += " " + q.Name
	}
	if q.Namespace == "" {
		return q.Verb + " " + what + " in all namespaces"
	}
	return q.Verb + " " + what + " in " + q.Namespace
}

// questions are what Vault needs for its own labels, and what an intruder in a Vault pod
// would like to do next.
func questions(namespace string, pods []corev1.Pod) []question {
	var all []question
	add := func(may bool, a authorizationv1.ResourceAttributes, verbs ...string) {
		for _, v := range verbs {
			a.Verb = v
			all = append(all, question{a, may})
		}
	}
	entered := []string{nobody}
	for _, p := range pods {
		entered = append(entered, p.Name)
		if _, published := p.Labels[target.ActiveLabel]; published {
			add(true, authorizationv1.ResourceAttributes{Namespace: namespace, Resource: "pods", Name: p.Name}, "get", "patch")
		}
	}
	// Every other pod: by name, and all at once.
	add(false, authorizationv1.ResourceAttributes{Namespace: namespace, Resource: "pods", Name: nobody}, "get", "patch", "update", "delete")
	add(false, authorizationv1.ResourceAttributes{Namespace: namespace, Resource: "pods"}, "list", "watch", "create", "patch", "update", "delete", "deletecollection")
	// The way into a container, also into Vault's own.
	for _, p := range entered {
		for _, way := range []string{"exec", "attach", "portforward"} {
			add(false, authorizationv1.ResourceAttributes{Namespace: namespace, Resource: "pods", Subresource: way, Name: p}, "create", "get")
		}
		add(false, authorizationv1.ResourceAttributes{Namespace: namespace, Resource: "pods", Subresource: "ephemeralcontainers", Name: p}, "patch", "update")
	}
	// Secrets, here and anywhere, and tokens of others.
	for _, ns := range []string{namespace, metav1.NamespaceSystem, ""} {
		add(false, authorizationv1.ResourceAttributes{Namespace: ns, Resource: "secrets"}, "get", "list", "watch")
	}
	add(false, authorizationv1.ResourceAttributes{Namespace: namespace, Resource: "serviceaccounts", Subresource: "token"}, "create")
	// More rights.
	for _, kind := range []string{"roles", "rolebindings"} {
		add(false, authorizationv1.ResourceAttributes{Namespace: namespace, Group: "rbac.authorization.k8s.io", Resource: kind}, "create", "patch", "update")
	}
	add(false, authorizationv1.ResourceAttributes{Namespace: namespace, Group: "rbac.authorization.k8s.io", Resource: "roles"}, "bind", "escalate")
	add(false, authorizationv1.ResourceAttributes{Resource: "users"}, "impersonate")
	add(false, authorizationv1.ResourceAttributes{Resource: "serviceaccounts"}, "impersonate")
	add(false, authorizationv1.ResourceAttributes{Resource: "nodes", Subresource: "proxy"}, "get", "create")
	// What Vault itself runs as, and what keeps others away from it.
	add(false, authorizationv1.ResourceAttributes{Namespace: namespace, Group: "apps", Resource: "statefulsets"}, "patch", "update", "delete")
	add(false, authorizationv1.ResourceAttributes{Namespace: namespace, Resource: "configmaps"}, "patch", "update")
	add(false, authorizationv1.ResourceAttributes{Namespace: namespace, Group: "networking.k8s.io", Resource: "networkpolicies"}, "create", "patch", "delete")
	return all
}

// answer is what the API server said, and by which rule.
type answer struct {
	question
	allowed bool
	reason  string
}

func ask(ctx context.Context, t *target.Target, account string, q question) (answer, error) {
	review, err := t.Client.AuthorizationV1().SubjectAccessReviews().Create(ctx, &authorizationv1.SubjectAccessReview{
		Spec: authorizationv1.SubjectAccessReviewSpec{
			User: "system:serviceaccount:" + t.Namespace + ":" + account,
			// The groups that every token of it bears.
			Groups:             []string{"system:serviceaccounts", "system:serviceaccounts:" + t.Namespace, "system:authenticated"},
			ResourceAttributes: &q.ResourceAttributes,
		},
	}, metav1.CreateOptions{})
	if err != nil {
		return answer{}, fmt.Errorf("asking whether service account %s/%s may %s: %w", t.Namespace, account, q, err)
	}
	return answer{q, review.Status.Allowed, review.Status.Reason}, nil
}

// rights judges what a service account may do.
func rights(account string, answers []answer) error {
	var wrong []string
	for _, a := range answers {
		switch {
		case a.allowed && !a.may:
			wrong = append(wrong, fmt.Sprintf("may %s (%s)", a, cmp.Or(a.reason, "no reason is given")))
		case !a.allowed && a.may:
			wrong = append(wrong, fmt.Sprintf("may not %s, which Vault needs to publish its state", a))
		}
	}
	if len(wrong) == 0 {
		return nil
	}
	return fmt.Errorf("Vault's service account %s %s; want get and patch of the Vault pods by resourceNames, and nothing that leads further", account, strings.Join(wrong, "; "))
}

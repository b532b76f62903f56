package tenancy

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/onsi/ginkgo/v2"
	authorizationv1 "k8s.io/api/authorization/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"

	"github.com/vaultproof/vaultproof/fixtures/tenant/workload"
	"github.com/vaultproof/vaultproof/pkg/conformance"
	"github.com/vaultproof/vaultproof/pkg/target"
	"github.com/vaultproof/vaultproof/pkg/tenancy"
)

var ten04 = conformance.Check{
	ID: "TEN-04", Area: area, Level: conformance.Must, Manner: conformance.Beside,
	Assertion: "in the tenant cluster the accounts that log in to Vault are bound to system:auth-delegator and to nothing more, and no group of accounts is",
	Source:    "HashiCorp Vault, auth/kubernetes: use the Vault client's JWT as the reviewer JWT; hashicorp/vault-plugin-auth-kubernetes#106",
	Observe:   "bindings to that cluster role; a SubjectAccessReview for each of many rights, and SelfSubjectRulesReviews with the account's own token",
	Timeout:   8 * time.Minute,
}

var _ = conformance.It(ten04, conformance.Conformance, func(ctx ginkgo.SpecContext, r *conformance.Case) error {
	env, err := tenants(ctx, r)
	if err != nil {
		return err
	}
	bindings, err := env.Cluster.Client.RbacV1().ClusterRoleBindings().List(ctx, metav1.ListOptions{})
	if err != nil {
		return r.CannotTell(fmt.Errorf("listing the ClusterRoleBindings of the tenant cluster: %w", err))
	}
	both := []tenancy.Tenant{env.A, env.B}
	if err := delegated(bindings.Items, both); err != nil {
		return err
	}
	asked := 0
	for _, tenant := range both {
		answers, err := env.review(ctx, tenant)
		if err != nil {
			return r.CannotTell(err)
		}
		if err := onlyReviews(tenant, answers); err != nil {
			return err
		}
		asked += len(answers)
		rules, err := env.rules(ctx, tenant)
		if err != nil {
			return r.CannotTell(err)
		}
		if err := nothingMore(tenant, rules); err != nil {
			return err
		}
	}
	r.Measure("rights_total", float64(asked))
	return nil
})

// delegated judges who is bound to the cluster role: each tenant's account, in its own
// binding or with others, and no group that other accounts are in. What checks of this run
// bind for themselves is left out; so are accounts of other namespaces, which log in
// elsewhere, such as the metrics server.
func delegated(bindings []rbacv1.ClusterRoleBinding, all []tenancy.Tenant) error {
	bound := map[string]bool{}
	for _, b := range bindings {
		if b.RoleRef.Name != delegator || b.RoleRef.Kind != "ClusterRole" {
			continue
		}
		for _, s := range b.Subjects {
			if s.Kind == rbacv1.GroupKind && wide(s.Name, all) {
				return fmt.Errorf("ClusterRoleBinding %s binds %s to group %s, want the tenants' own accounts alone: everybody in it could have any token reviewed", b.Name, delegator, s.Name)
			}
			at := slices.IndexFunc(all, func(t tenancy.Tenant) bool { return s.Namespace == t.Namespace })
			if s.Kind != rbacv1.ServiceAccountKind || at < 0 {
				continue
			}
			if logsIn := accountsOf(all[at]); !slices.Contains(logsIn, s.Name) && !strings.HasPrefix(s.Name, ours) {
				return fmt.Errorf("ClusterRoleBinding %s binds %s to account %s/%s, want %s alone, which log in", b.Name, delegator, s.Namespace, s.Name, strings.Join(logsIn, " and "))
			}
			bound[s.Namespace+"/"+s.Name] = true
		}
	}
	for _, t := range all {
		if !bound[t.Namespace+"/"+t.ServiceAccount] {
			return fmt.Errorf("no ClusterRoleBinding binds %s to account %s/%s, so the API server would not review its token when it logs in", delegator, t.Namespace, t.ServiceAccount)
		}
	}
	return nil
}

// accountsOf are the service accounts of a tenant that log in: that of its workload, and the
// owner of its database, once.
func accountsOf(t tenancy.Tenant) []string {
	return []string{t.ServiceAccount, workload.PlaceOf(t).Owner}
}

// ours begins the names of accounts that checks make for themselves.
const ours = "vaultproof-"

// wide tells whether a group has accounts of tenants in it.
func wide(group string, all []tenancy.Tenant) bool {
	if slices.Contains([]string{"system:authenticated", "system:unauthenticated", "system:serviceaccounts"}, group) {
		return true
	}
	return slices.ContainsFunc(all, func(t tenancy.Tenant) bool { return group == "system:serviceaccounts:"+t.Namespace })
}

// right is something that may be done in a cluster.
type right struct {
	target.Permission
	want bool
}

// rights are what the account of a tenant must be able to do, and what it must not, in its
// own namespace and beyond.
func rights(tenant tenancy.Tenant) []right {
	all := []right{
		{target.Permission{Verb: "create", Group: "authentication.k8s.io", Resource: "tokenreviews"}, true},
		{target.Permission{Verb: "create", Group: "authorization.k8s.io", Resource: "subjectaccessreviews"}, true},
	}
	no := func(verb, group, resource, subresource, namespace string) {
		all = append(all, right{target.Permission{Verb: verb, Group: group, Resource: resource, Subresource: subresource, Namespace: namespace}, false})
	}
	for _, namespace := range []string{tenant.Namespace, metav1.NamespaceSystem, ""} {
		for _, verb := range []string{"get", "list", "watch", "create", "delete"} {
			no(verb, "", "secrets", "", namespace)
			no(verb, "", "pods", "", namespace)
			no(verb, "", "configmaps", "", namespace)
		}
		no("create", "", "pods", "exec", namespace)
		no("create", "", "serviceaccounts", "token", namespace)
		no("get", "", "serviceaccounts", "", namespace)
		no("create", rbacv1.GroupName, "rolebindings", "", namespace)
		no("create", "apps", "deployments", "", namespace)
	}
	for _, verb := range []string{"bind", "escalate", "create", "update"} {
		no(verb, rbacv1.GroupName, "clusterroles", "", "")
	}
	no("create", rbacv1.GroupName, "clusterrolebindings", "", "")
	no("impersonate", "", "users", "", "")
	no("impersonate", "", "serviceaccounts", "", "")
	no("list", "", "namespaces", "", "")
	no("list", "", "nodes", "", "")
	no("get", "", "nodes", "proxy", "")
	no("approve", "certificates.k8s.io", "signers", "", "")
	no("create", "certificates.k8s.io", "certificatesigningrequests", "", "")
	no("*", "*", "*", "", "")
	return all
}

// answer is what the API server says of a right.
type answer struct {
	right
	allowed bool
	reason  string
}

// review asks the API server about each right of a tenant's account.
func (e *Env) review(ctx context.Context, tenant tenancy.Tenant) ([]answer, error) {
	var answers []answer
	for _, each := range rights(tenant) {
		review, err := e.Cluster.Client.AuthorizationV1().SubjectAccessReviews().Create(ctx, &authorizationv1.SubjectAccessReview{
			Spec: authorizationv1.SubjectAccessReviewSpec{
				User: userOf(tenant), Groups: groupsOf(tenant),
				ResourceAttributes: &authorizationv1.ResourceAttributes{
					Verb: each.Verb, Group: each.Group, Resource: each.Resource, Subresource: each.Subresource, Namespace: each.Namespace,
				},
			},
		}, metav1.CreateOptions{})
		if err != nil {
			return nil, fmt.Errorf("asking whether %s may %s in the tenant cluster: %w", userOf(tenant), each, err)
		}
		answers = append(answers, answer{each, review.Status.Allowed, review.Status.Reason})
	}
	return answers, nil
}

func userOf(tenant tenancy.Tenant) string {
	return "system:serviceaccount:" + tenant.Namespace + ":" + tenant.ServiceAccount
}

func groupsOf(tenant tenancy.Tenant) []string {
	return []string{"system:serviceaccounts", "system:serviceaccounts:" + tenant.Namespace, "system:authenticated"}
}

// onlyReviews judges what the API server said.
func onlyReviews(tenant tenancy.Tenant, answers []answer) error {
	var wrong []string
	for _, a := range answers {
		if a.allowed != a.want {
			wrong = append(wrong, fmt.Sprintf("%s: allowed %t, want %t (%s)", a.right, a.allowed, a.want, a.reason))
		}
	}
	if len(wrong) == 0 {
		return nil
	}
	return fmt.Errorf("what %s may do in the tenant cluster is not what it takes to log in: %s", userOf(tenant), strings.Join(wrong, "; "))
}

// rules asks the API server, with the account's own token, for all that it may do in its
// namespace and in that of the system.
func (e *Env) rules(ctx context.Context, tenant tenancy.Tenant) ([]authorizationv1.ResourceRule, error) {
	token, err := e.Cluster.Token(ctx, tenant.Namespace, tenant.ServiceAccount, "", tenancy.ShortestToken)
	if err != nil {
		return nil, err
	}
	config := rest.AnonymousClientConfig(e.Cluster.Config)
	config.BearerToken = token
	client, err := kubernetes.NewForConfig(config)
	if err != nil {
		return nil, fmt.Errorf("preparing a client with the token of %s: %w", userOf(tenant), err)
	}
	var all []authorizationv1.ResourceRule
	for _, namespace := range []string{tenant.Namespace, metav1.NamespaceSystem} {
		review, err := client.AuthorizationV1().SelfSubjectRulesReviews().Create(ctx, &authorizationv1.SelfSubjectRulesReview{
			Spec: authorizationv1.SelfSubjectRulesReviewSpec{Namespace: namespace},
		}, metav1.CreateOptions{})
		if err != nil {
			return nil, fmt.Errorf("asking what %s may do in namespace %s of the tenant cluster: %w", userOf(tenant), namespace, err)
		}
		if review.Status.Incomplete {
			return nil, fmt.Errorf("the API server of the tenant cluster cannot tell all that %s may do: %s", userOf(tenant), review.Status.EvaluationError)
		}
		all = append(all, review.Status.ResourceRules...)
	}
	return all, nil
}

// harmless are the resources of reviews: those that system:auth-delegator is about, and those
// that everybody may ask about himself.
var harmless = []string{
	"tokenreviews.authentication.k8s.io", "subjectaccessreviews.authorization.k8s.io",
	"selfsubjectaccessreviews.authorization.k8s.io", "selfsubjectrulesreviews.authorization.k8s.io",
	"selfsubjectreviews.authentication.k8s.io",
}

// public are the resources that every account may read where the cluster has them.
var public = []string{"clustertrustbundles.certificates.k8s.io"}

// nothingMore judges the rules of a tenant's account: all are of reviews.
func nothingMore(tenant tenancy.Tenant, rules []authorizationv1.ResourceRule) error {
	for _, rule := range rules {
		for _, group := range rule.APIGroups {
			for _, resource := range rule.Resources {
				what := resource + "." + group
				review := slices.Contains(harmless, what) && slices.Equal(rule.Verbs, []string{"create"})
				if !review && !slices.Contains(public, what) {
					return fmt.Errorf("%s may %s %s of API group %q in the tenant cluster, want nothing but %s", userOf(tenant), strings.Join(rule.Verbs, ", "), resource, group, strings.Join(harmless, ", "))
				}
			}
		}
	}
	return nil
}

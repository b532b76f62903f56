package tenancy

import (
	"strings"
	"testing"

	authorizationv1 "k8s.io/api/authorization/v1"
	rbacv1 "k8s.io/api/rbac/v1"

	"github.com/vaultproof/vaultproof/pkg/tenancy"
)

var pair = []tenancy.Tenant{tenancy.NewTenant("a"), tenancy.NewTenant("b")}

func TestWhoIsBoundToReviewsAndShouldNotIsSeen(t *testing.T) {
	a, b := *bindingOf("tenant-a", "app", "r"), *bindingOf("tenant-b", "app", "r")
	binding := func(subjects ...rbacv1.Subject) rbacv1.ClusterRoleBinding {
		return rbacv1.ClusterRoleBinding{RoleRef: rbacv1.RoleRef{Kind: "ClusterRole", Name: delegator}, Subjects: subjects}
	}
	account := func(namespace, name string) rbacv1.Subject {
		return rbacv1.Subject{Kind: rbacv1.ServiceAccountKind, Namespace: namespace, Name: name}
	}
	group := func(name string) rbacv1.Subject { return rbacv1.Subject{Kind: rbacv1.GroupKind, Name: name} }
	for name, c := range map[string]struct {
		all  []rbacv1.ClusterRoleBinding
		want string // in the error; empty for none
	}{
		"as it should be": {[]rbacv1.ClusterRoleBinding{a, b, binding(account("kube-system", "metrics-server")), binding(account("tenant-a", "vaultproof-other"))}, ""},
		"another account": {[]rbacv1.ClusterRoleBinding{a, b, binding(account("tenant-b", "default"))}, "tenant-b/default"},
		"all accounts":    {[]rbacv1.ClusterRoleBinding{a, b, binding(group("system:serviceaccounts"))}, "group system:serviceaccounts"},
		"a namespace":     {[]rbacv1.ClusterRoleBinding{a, b, binding(group("system:serviceaccounts:tenant-a"))}, "group system:serviceaccounts:tenant-a"},
		"nobody":          {[]rbacv1.ClusterRoleBinding{a}, "account tenant-b/app"},
	} {
		err := delegated(c.all, pair)
		if c.want == "" && err != nil || c.want != "" && (err == nil || !strings.Contains(err.Error(), c.want)) {
			t.Errorf("%s: %v, want %q", name, err, c.want)
		}
	}
}

func TestARightTooManyOrTooFewIsSeen(t *testing.T) {
	a := pair[0]
	var answers []answer
	for _, each := range rights(a) {
		answers = append(answers, answer{right: each, allowed: each.want})
	}
	if err := onlyReviews(a, answers); err != nil {
		t.Errorf("the right rights: %v", err)
	}
	for i := range answers {
		answers[i].allowed = !answers[i].allowed
		err := onlyReviews(a, answers)
		if err == nil || !strings.Contains(err.Error(), answers[i].Permission.String()) || !strings.Contains(err.Error(), "tenant-a:app") {
			t.Errorf("%s, allowed %t: %v", answers[i].right, answers[i].allowed, err)
		}
		answers[i].allowed = !answers[i].allowed
	}
}

func TestARuleTooManyIsSeen(t *testing.T) {
	rule := func(group, resource string, verbs ...string) authorizationv1.ResourceRule {
		return authorizationv1.ResourceRule{APIGroups: []string{group}, Resources: []string{resource}, Verbs: verbs}
	}
	usual := []authorizationv1.ResourceRule{
		rule("authentication.k8s.io", "tokenreviews", "create"), rule("authorization.k8s.io", "selfsubjectrulesreviews", "create"),
		rule("certificates.k8s.io", "clustertrustbundles", "get", "list", "watch"),
	}
	if err := nothingMore(pair[0], usual); err != nil {
		t.Errorf("the usual rules: %v", err)
	}
	for name, more := range map[string]authorizationv1.ResourceRule{
		"secrets":    rule("", "secrets", "get"),
		"everything": rule("*", "*", "*"),
		"more verbs": rule("authentication.k8s.io", "tokenreviews", "create", "delete"),
	} {
		if nothingMore(pair[0], append(usual[:len(usual):len(usual)], more)) == nil {
			t.Errorf("%s is not seen", name)
		}
	}
}

package fault

import (
	"context"
	"errors"
	"reflect"
	"testing"

	authorizationv1 "k8s.io/api/authorization/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/client-go/kubernetes/fake"
	clienttesting "k8s.io/client-go/testing"
)

func rule(verbs ...string) rbacv1.PolicyRule {
	return rbacv1.PolicyRule{APIGroups: []string{""}, Resources: []string{"pods"}, Verbs: verbs}
}

func TestWithoutPatch(t *testing.T) {
	secrets := rbacv1.PolicyRule{APIGroups: []string{""}, Resources: []string{"secrets"}, Verbs: []string{"patch"}}
	for name, c := range map[string]struct {
		rules, want []rbacv1.PolicyRule
		cut         bool
	}{
		"among others": {[]rbacv1.PolicyRule{rule("get", "patch")}, []rbacv1.PolicyRule{rule("get")}, true},
		"alone":        {[]rbacv1.PolicyRule{rule("patch")}, nil, true},
		"all verbs":    {[]rbacv1.PolicyRule{rule("*"), rule("get")}, []rbacv1.PolicyRule{rule("get")}, true},
		"not granted":  {[]rbacv1.PolicyRule{rule("get")}, []rbacv1.PolicyRule{rule("get")}, false},
		"of secrets":   {[]rbacv1.PolicyRule{secrets}, []rbacv1.PolicyRule{secrets}, false},
	} {
		got, cut := withoutPatch(c.rules)
		if cut != c.cut || !reflect.DeepEqual(got, c.want) {
			t.Errorf("%s: %v, cut %v", name, got, cut)
		}
	}
}

// authorizing answers reviews by the rules that the Role has at that moment.
func authorizing(role *rbacv1.Role, account string, always *bool) *fake.Clientset {
	client := fake.NewClientset(role, &rbacv1.RoleBinding{
		ObjectMeta: labelled("registration", nil), RoleRef: rbacv1.RoleRef{Kind: "Role", Name: role.Name},
		Subjects: []rbacv1.Subject{{Kind: rbacv1.ServiceAccountKind, Name: account, Namespace: "vault"}},
	})
	client.PrependReactor("create", "subjectaccessreviews", func(clienttesting.Action) (bool, runtime.Object, error) {
		review := &authorizationv1.SubjectAccessReview{}
		now, err := client.Tracker().Get(rbacv1.SchemeGroupVersion.WithResource("roles"), "vault", role.Name)
		if err != nil {
			return true, nil, err
		}
		_, granted := withoutPatch(now.(*rbacv1.Role).Rules)
		review.Status.Allowed = granted || *always
		return true, review, nil
	})
	return client
}

func TestPatchIsDeniedAndGivenBack(t *testing.T) {
	always := false
	role := &rbacv1.Role{ObjectMeta: labelled("registration", nil), Rules: []rbacv1.PolicyRule{rule("get", "patch")}}
	client := authorizing(role, "vault", &always)
	env := &Env{Client: client, Namespace: "vault"}
	injected, err := (&PatchDenied{Env: env, ServiceAccount: "vault", Pod: "vault-0"}).Inject(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if _, err := injected.Witness(t.Context()); err != nil {
		t.Error(err)
	}
	always = true // as if the right came from elsewhere too
	ctx, cancel := context.WithTimeout(t.Context(), pollEvery)
	defer cancel()
	if _, err := injected.Witness(ctx); !errors.Is(err, ErrNoWitness) {
		t.Errorf("the authorizer allows it still: %v, want ErrNoWitness", err)
	}
	if err := injected.Recover(t.Context()); err != nil {
		t.Fatal(err)
	}
	now, err := client.RbacV1().Roles("vault").Get(t.Context(), "registration", metav1.GetOptions{})
	if err != nil || !reflect.DeepEqual(now.Rules, []rbacv1.PolicyRule{rule("get", "patch")}) || len(now.Annotations) != 0 {
		t.Errorf("the Role has rules %v and annotations %v (%v)", now.Rules, now.Annotations, err)
	}
	if restored, err := restoreRole(t.Context(), client, Ref{Kind: KindRole, Namespace: "vault", Name: "registration"}); restored || err != nil {
		t.Errorf("a Role that is whole was restored: %v (%v)", restored, err)
	}
}

func TestPatchDeniedNeedsARoleToCut(t *testing.T) {
	always := false
	role := &rbacv1.Role{ObjectMeta: labelled("registration", nil), Rules: []rbacv1.PolicyRule{rule("get")}}
	client := authorizing(role, "vault", &always)
	f := &PatchDenied{Env: &Env{Client: client, Namespace: "vault"}, ServiceAccount: "vault", Pod: "vault-0"}
	if _, err := f.Inject(t.Context()); !errors.Is(err, ErrUnavailable) {
		t.Errorf("an account without the right: %v, want ErrUnavailable", err)
	}
	always = true // from a ClusterRole
	if _, err := f.Inject(t.Context()); !errors.Is(err, ErrUnavailable) {
		t.Errorf("a right that no Role gives: %v, want ErrUnavailable", err)
	}
}

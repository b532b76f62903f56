package fault

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"time"

	authorizationv1 "k8s.io/api/authorization/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/wait"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/util/retry"
)

// KindRole is a Role whose rules were cut.
const KindRole = "Role"

var _ = undoneBy(KindRole, func(ctx context.Context, r *recovery, ref Ref) (bool, error) {
	return restoreRole(ctx, r.client, ref)
})

// rulesAnnotation keeps, on a Role that was cut down, the rules it had.
const rulesAnnotation = "vaultproof.dev/rules-before"

// PatchDenied takes from the service account of the Vault pods the right to
// patch pods, which it sets their labels with.
type PatchDenied struct {
	Env *Env
	// ServiceAccount is the pods', in the namespace of Env.
	ServiceAccount string
	// Pod is one that the account may patch.
	Pod string
}

// Kind is patch-denied.
func (f *PatchDenied) Kind() string { return "patch-denied" }

// Target is the service account.
func (f *PatchDenied) Target() string { return f.ServiceAccount }

// Inject cuts the verb out of every Role that is bound to the account. Each
// Role keeps its rules in an annotation, written together with the cut.
func (f *PatchDenied) Inject(ctx context.Context) (Injected, error) {
	allowed, err := f.allowed(ctx)
	if err != nil {
		return nil, err
	}
	if !allowed {
		return nil, fmt.Errorf("%w: service account %s/%s may not patch pod %s to begin with", ErrUnavailable, f.Env.Namespace, f.ServiceAccount, f.Pod)
	}
	roles, err := f.roles(ctx)
	if err != nil {
		return nil, err
	}
	if len(roles) == 0 {
		return nil, fmt.Errorf("%w: no Role in namespace %s lets service account %s patch pods, so the right comes from elsewhere",
			ErrUnavailable, f.Env.Namespace, f.ServiceAccount)
	}
	d := &denied{fault: f}
	for i := range roles {
		if err := d.cut(ctx, &roles[i]); err != nil {
			return nil, errors.Join(err, d.Recover(context.WithoutCancel(ctx)))
		}
	}
	return d, nil
}

// allowed asks the API server whether the account may patch the pod.
func (f *PatchDenied) allowed(ctx context.Context) (bool, error) {
	review, err := f.Env.Client.AuthorizationV1().SubjectAccessReviews().Create(ctx, &authorizationv1.SubjectAccessReview{
		Spec: authorizationv1.SubjectAccessReviewSpec{
			User: "system:serviceaccount:" + f.Env.Namespace + ":" + f.ServiceAccount,
			Groups: []string{
				"system:serviceaccounts", "system:serviceaccounts:" + f.Env.Namespace, "system:authenticated",
			},
			ResourceAttributes: &authorizationv1.ResourceAttributes{
				Namespace: f.Env.Namespace, Verb: "patch", Resource: "pods", Name: f.Pod,
			},
		},
	}, metav1.CreateOptions{})
	if err != nil {
		return false, fmt.Errorf("asking what service account %s/%s may do: %w", f.Env.Namespace, f.ServiceAccount, err)
	}
	return review.Status.Allowed, nil
}

// roles are those bound to the account that let it patch pods.
func (f *PatchDenied) roles(ctx context.Context) ([]rbacv1.Role, error) {
	rbac := f.Env.Client.RbacV1()
	bindings, err := rbac.RoleBindings(f.Env.Namespace).List(ctx, metav1.ListOptions{})
	if err != nil {
		return nil, fmt.Errorf("listing the RoleBindings in namespace %s: %w", f.Env.Namespace, err)
	}
	var roles []rbacv1.Role
	for _, b := range bindings.Items {
		if b.RoleRef.Kind != "Role" || !binds(b, f.Env.Namespace, f.ServiceAccount) {
			continue
		}
		role, err := rbac.Roles(f.Env.Namespace).Get(ctx, b.RoleRef.Name, metav1.GetOptions{})
		if apierrors.IsNotFound(err) {
			continue
		}
		if err != nil {
			return nil, fmt.Errorf("reading Role %s/%s: %w", f.Env.Namespace, b.RoleRef.Name, err)
		}
		if _, cut := withoutPatch(role.Rules); cut {
			roles = append(roles, *role)
		}
	}
	return roles, nil
}

func binds(b rbacv1.RoleBinding, namespace, account string) bool {
	return slices.ContainsFunc(b.Subjects, func(s rbacv1.Subject) bool {
		return s.Kind == rbacv1.ServiceAccountKind && s.Name == account && (s.Namespace == namespace || s.Namespace == "")
	})
}

// withoutPatch takes the verb patch out of the rules for pods, and tells
// whether it was in one. A rule for all verbs is left out altogether.
func withoutPatch(rules []rbacv1.PolicyRule) (kept []rbacv1.PolicyRule, cut bool) {
	for _, rule := range rules {
		pods := slices.Contains(rule.Resources, "pods") || slices.Contains(rule.Resources, rbacv1.ResourceAll)
		core := slices.Contains(rule.APIGroups, "") || slices.Contains(rule.APIGroups, rbacv1.APIGroupAll)
		all := slices.Contains(rule.Verbs, rbacv1.VerbAll)
		if !pods || !core || !all && !slices.Contains(rule.Verbs, "patch") {
			kept = append(kept, rule)
			continue
		}
		cut = true
		if all {
			continue
		}
		rule = *rule.DeepCopy()
		rule.Verbs = slices.DeleteFunc(rule.Verbs, func(v string) bool { return v == "patch" })
		if len(rule.Verbs) > 0 {
			kept = append(kept, rule)
		}
	}
	return kept, cut
}

type denied struct {
	fault *PatchDenied
	cuts  []Ref
}

// cut journals a Role and takes the verb from it.
func (d *denied) cut(ctx context.Context, role *rbacv1.Role) error {
	env := d.fault.Env
	ref := Ref{Kind: KindRole, Namespace: role.Namespace, Name: role.Name}
	before, err := json.Marshal(role.Rules)
	if err != nil {
		return fmt.Errorf("encoding the rules of %s: %w", ref, err)
	}
	if env.Journal != nil {
		if err := env.Journal.Begin(ref); err != nil {
			return err
		}
	}
	d.cuts = append(d.cuts, ref)
	if role.Annotations == nil {
		role.Annotations = map[string]string{}
	}
	role.Annotations[rulesAnnotation] = string(before)
	role.Rules, _ = withoutPatch(role.Rules)
	if _, err := env.Client.RbacV1().Roles(role.Namespace).Update(ctx, role, metav1.UpdateOptions{}); err != nil {
		return fmt.Errorf("taking the verb patch from %s: %w", ref, err)
	}
	return nil
}

// Witness waits until the API server's authorizer denies the patch.
func (d *denied) Witness(ctx context.Context) (Witness, error) {
	f := d.fault
	seen := "the API server was not asked"
	err := wait.PollUntilContextCancel(ctx, pollEvery, true, func(ctx context.Context) (bool, error) {
		allowed, err := f.allowed(ctx)
		if err != nil {
			seen = err.Error()
			return false, nil // the deadline decides
		}
		seen = fmt.Sprintf("service account %s/%s may patch pod %s still", f.Env.Namespace, f.ServiceAccount, f.Pod)
		return !allowed, nil
	})
	if err != nil {
		return Witness{}, fmt.Errorf("%w: %s", ErrNoWitness, seen)
	}
	return Witness{At: time.Now(), Evidence: fmt.Sprintf("the API server denies service account %s/%s a patch of pod %s", f.Env.Namespace, f.ServiceAccount, f.Pod)}, nil
}

// Recover gives the rules back.
func (d *denied) Recover(ctx context.Context) error {
	env := d.fault.Env
	var errs []error
	for _, ref := range d.cuts {
		_, err := restoreRole(ctx, env.Client, ref)
		if err == nil && env.Journal != nil {
			err = env.Journal.Done(ref)
		}
		errs = append(errs, err)
	}
	return errors.Join(errs...)
}

// restoreRole gives a Role the rules that its annotation keeps. It tells
// whether there was something to restore.
func restoreRole(ctx context.Context, client kubernetes.Interface, ref Ref) (restored bool, err error) {
	roles := client.RbacV1().Roles(ref.Namespace)
	err = retry.RetryOnConflict(retry.DefaultBackoff, func() error {
		role, err := roles.Get(ctx, ref.Name, metav1.GetOptions{})
		if apierrors.IsNotFound(err) {
			return nil
		}
		if err != nil {
			return err
		}
		before, cut := role.Annotations[rulesAnnotation]
		if !cut {
			return nil
		}
		var rules []rbacv1.PolicyRule
		if err := json.Unmarshal([]byte(before), &rules); err != nil {
			return fmt.Errorf("its annotation %s holds no rules: %w", rulesAnnotation, err)
		}
		role.Rules = rules
		delete(role.Annotations, rulesAnnotation)
		_, err = roles.Update(ctx, role, metav1.UpdateOptions{})
		restored = err == nil
		return err
	})
	if err != nil {
		return false, fmt.Errorf("giving %s its rules back: %w", ref, err)
	}
	return restored, nil
}

package target

import (
	"context"
	"fmt"
	"strings"

	authorizationv1 "k8s.io/api/authorization/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// Permission is one verb on one resource that a run needs.
type Permission struct {
	Verb, Group, Resource, Subresource, Namespace string
}

// String is how kubectl auth can-i would be asked.
func (p Permission) String() string {
	resource := p.Resource
	if p.Subresource != "" {
		resource += "/" + p.Subresource
	}
	if p.Group != "" {
		resource += "." + p.Group
	}
	if p.Namespace == "" {
		return p.Verb + " " + resource
	}
	return p.Verb + " " + resource + " in " + p.Namespace
}

// ReadPermissions are what observing the target takes.
func (t *Target) ReadPermissions() []Permission {
	ns := t.Namespace
	return []Permission{
		{Verb: "list", Resource: "nodes"},
		{Verb: "list", Resource: "pods"},
		{Verb: "list", Resource: "pods", Namespace: ns},
		{Verb: "get", Resource: "pods", Subresource: "log", Namespace: ns},
		{Verb: "create", Resource: "pods", Subresource: "portforward", Namespace: ns},
		{Verb: "list", Resource: "services", Namespace: ns},
		{Verb: "list", Resource: "configmaps", Namespace: ns},
		{Verb: "list", Resource: "events", Namespace: ns},
		{Verb: "get", Group: "apps", Resource: "statefulsets", Namespace: ns},
		{Verb: "list", Group: "discovery.k8s.io", Resource: "endpointslices", Namespace: ns},
	}
}

// ChangePermissions are what checks that restart or add a pod take besides.
func (t *Target) ChangePermissions() []Permission {
	return []Permission{
		{Verb: "create", Resource: "pods", Namespace: t.Namespace},
		{Verb: "delete", Resource: "pods", Namespace: t.Namespace},
		{Verb: "patch", Resource: "pods", Namespace: t.Namespace},
		{Verb: "create", Resource: "pods", Subresource: "exec", Namespace: t.Namespace},
		{Verb: "create", Resource: "configmaps", Namespace: t.Namespace},
		{Verb: "create", Resource: "serviceaccounts", Subresource: "token", Namespace: SystemNamespace},
	}
}

// Missing asks the API server, as the user of the kubeconfig, which of the
// permissions are not granted.
func (t *Target) Missing(ctx context.Context, needed []Permission) ([]Permission, error) {
	var missing []Permission
	for _, p := range needed {
		review, err := t.Client.AuthorizationV1().SelfSubjectAccessReviews().Create(ctx, &authorizationv1.SelfSubjectAccessReview{
			Spec: authorizationv1.SelfSubjectAccessReviewSpec{ResourceAttributes: &authorizationv1.ResourceAttributes{
				Namespace: p.Namespace, Verb: p.Verb, Group: p.Group, Resource: p.Resource, Subresource: p.Subresource,
			}},
		}, metav1.CreateOptions{})
		if err != nil {
			return nil, fmt.Errorf("asking whether the kubeconfig may %s: %w", p, err)
		}
		if !review.Status.Allowed {
			missing = append(missing, p)
		}
	}
	return missing, nil
}

// MustAllow is Missing as one sentence, or nil.
func (t *Target) MustAllow(ctx context.Context, needed []Permission) error {
	missing, err := t.Missing(ctx, needed)
	if err != nil || len(missing) == 0 {
		return err
	}
	var words []string
	for _, p := range missing {
		words = append(words, p.String())
	}
	return fmt.Errorf("the user of the kubeconfig may not: %s; grant these, or use another -kubeconfig or -context", strings.Join(words, "; "))
}

package isolation

import (
	"context"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/labels"

	"github.com/vaultproof/vaultproof/pkg/conformance"
)

// scene is what a check of network policies sets its guests into.
type scene struct {
	template corev1.PodTemplateSpec // of the Vault pods
	guard    string                 // which policies guard them, for messages
	like     labels.Set             // of a guest that these policies take for a Vault pod
}

// setScene looks at Vault's namespace; the check is skipped if guests may not visit it.
func setScene(ctx context.Context, r *conformance.Case) (scene, error) {
	var s scene
	if err := mayVisit(ctx, r); err != nil {
		return s, err
	}
	var err error
	if s.template, err = r.Target.Template(ctx); err != nil {
		return s, r.CannotTell(err)
	}
	around, err := survey(ctx, r.Target)
	if err != nil {
		return s, r.CannotTell(err)
	}
	if s.guard, err = around.describe(s.template.Labels); err != nil {
		return s, r.CannotTell(err)
	}
	s.like, err = around.standIn(s.template.Labels)
	return s, r.CannotTell(err)
}

package fault

import (
	"context"
	"testing"

	"github.com/chaos-mesh/chaos-mesh/api/v1alpha1"
	corev1 "k8s.io/api/core/v1"
	ctrl "sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/client/interceptor"
)

// settling is a Chaos Mesh that says of every object at once that it is in force.
var settling = interceptor.Funcs{
	Create: func(ctx context.Context, client ctrl.WithWatch, object ctrl.Object, options ...ctrl.CreateOption) error {
		if chaos, ok := object.(v1alpha1.InnerObject); ok {
			chaos.GetStatus().Conditions = []v1alpha1.ChaosCondition{{Type: v1alpha1.ConditionAllInjected, Status: corev1.ConditionTrue}}
		}
		return client.Create(ctx, object, options...)
	},
}

// fastSettling shortens the wait for a Chaos Mesh that says nothing.
func fastSettling(t *testing.T) {
	t.Helper()
	old := settleTimeout
	settleTimeout = 2 * pollEvery
	t.Cleanup(func() { settleTimeout = old })
}

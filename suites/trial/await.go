package trial

import (
	"context"
	"time"

	"k8s.io/apimachinery/pkg/util/wait"

	"github.com/vaultproof/vaultproof/pkg/conformance"
	"github.com/vaultproof/vaultproof/pkg/target"
)

// AwaitSuccessor waits until a pod other than the old active says that it is
// active, and returns its name; empty if none did before the context ended.
func AwaitSuccessor(ctx context.Context, t *target.Target, old string) string {
	var successor string
	_ = wait.PollUntilContextCancel(ctx, 200*time.Millisecond, true, func(ctx context.Context) (bool, error) {
		states, err := t.State(ctx)
		if err != nil {
			return false, nil // the deadline decides
		}
		for _, s := range states {
			if s.IsSelf && s.Pod.Name != old {
				successor = s.Pod.Name
			}
		}
		return successor != "", nil
	})
	return successor
}

// FlowUntil lets the load flow until an instant, which may be past.
func FlowUntil(ctx context.Context, r *conformance.Case, at time.Time) error {
	left := time.Until(at)
	if left <= 0 {
		return nil
	}
	return r.CannotTell(r.Traffic.Flow(ctx, left))
}

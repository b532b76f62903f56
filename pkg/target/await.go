package target

import (
	"context"
	"fmt"
	"time"

	"k8s.io/apimachinery/pkg/util/wait"
)

// awaitEvery is how often AwaitWhole looks: each look asks every pod.
const awaitEvery = 500 * time.Millisecond

// AwaitWhole waits until Whole holds and returns the states then. Its error says
// what was still missing when the context ended.
func (t *Target) AwaitWhole(ctx context.Context) ([]PodState, error) {
	var states []PodState
	missing := fmt.Errorf("the pods were not looked at yet")
	err := wait.PollUntilContextCancel(ctx, awaitEvery, true, func(ctx context.Context) (bool, error) {
		var err error
		if states, err = t.State(ctx); err == nil {
			err = t.Whole(states)
		}
		if err != nil && ctx.Err() == nil {
			missing = err // an error of the ended context itself would hide the reason
		}
		return err == nil, nil
	})
	if err != nil {
		return states, missing
	}
	return states, nil
}

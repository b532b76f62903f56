package tenancy

import (
	"context"
	"sync"
	"time"
)

// flow is logins that begin at a steady rate, whatever becomes of each.
type flow struct {
	stop  context.CancelFunc
	ended sync.WaitGroup

	mu       sync.Mutex
	outcomes []outcome
}

// flowing starts one login every so often. Each is on its own, and is not ended with ctx, but
// only with its own patience.
func flowing(ctx context.Context, every time.Duration, login func(context.Context) outcome) *flow {
	each := context.WithoutCancel(ctx)
	ctx, cancel := context.WithCancel(ctx)
	f := &flow{stop: cancel}
	f.ended.Go(func() {
		ticker := time.NewTicker(every)
		defer ticker.Stop()
		for {
			f.ended.Go(func() { f.take(login(each)) })
			select {
			case <-ticker.C:
			case <-ctx.Done():
				return
			}
		}
	})
	return f
}

func (f *flow) take(o outcome) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.outcomes = append(f.outcomes, o)
}

// end stops it, waits for what is under way, and returns all outcomes. Ending it again
// returns the same.
func (f *flow) end() []outcome {
	f.stop()
	f.ended.Wait()
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.outcomes
}

// pause waits, and is an error if the context ends before.
func pause(ctx context.Context, d time.Duration) error {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

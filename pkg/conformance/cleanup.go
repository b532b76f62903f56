package conformance

import (
	"context"
	"slices"
	"sync"
	"time"
)

// cleanUpTimeout bounds one thing that a check put off until its end.
const cleanUpTimeout = time.Minute

// cleanUps are what a check that runs beside others put off until its end.
type cleanUps struct {
	ctx context.Context // outlives the check

	mu   sync.Mutex
	put  []func(context.Context) error
	over bool
}

// add puts f off. If the end has come already, because the check goes on though
// it was told to end, nobody else would call f, and it is called at once.
func (u *cleanUps) add(f func(context.Context) error) {
	u.mu.Lock()
	over := u.over
	if !over {
		u.put = append(u.put, f)
	}
	u.mu.Unlock()
	if over {
		u.call(f)
	}
}

// run does what was put off, the latest first.
func (u *cleanUps) run() {
	u.mu.Lock()
	u.over = true
	put := u.put
	u.mu.Unlock()
	for _, f := range slices.Backward(put) {
		u.call(f)
	}
}

func (u *cleanUps) call(f func(context.Context) error) {
	ctx, cancel := context.WithTimeout(u.ctx, cleanUpTimeout)
	defer cancel()
	_ = f(ctx) // it has been reported
}

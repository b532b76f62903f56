package target

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/hashicorp/vault/api"
)

// lookTimeout bounds one look at a seal: a Vault that joins raft holds its
// answer back.
const lookTimeout = 2 * time.Second

// SealLook is one look at what a pod says of its own seal.
type SealLook struct {
	At time.Time
	// Status is nil if the pod did not answer; Err then says why.
	Status *api.SealStatusResponse
	Err    error
}

// Sealed is true if the pod answered, has data and is sealed.
func (l SealLook) Sealed() bool { return l.Err == nil && l.Status.Initialized && l.Status.Sealed }

// Open is true if the pod answered and is unsealed.
func (l SealLook) Open() bool { return l.Err == nil && l.Status.Initialized && !l.Status.Sealed }

// String says what was seen, for messages.
func (l SealLook) String() string {
	at := l.At.UTC().Format("15:04:05.000")
	if l.Err != nil {
		return fmt.Sprintf("at %s it did not answer: %v", at, l.Err)
	}
	return fmt.Sprintf("at %s it said initialized=%t, sealed=%t", at, l.Status.Initialized, l.Status.Sealed)
}

// WatchSeal asks the pod of that name for sys/seal-status again and again, until
// done says so or the context ends, and returns all it saw. A pod that does not
// answer is no error; the connection is made anew each time it broke. Without
// enough seen when the context ends, the error says what was seen last.
func (t *Target) WatchSeal(ctx context.Context, pod string, every time.Duration, done func(SealLook) bool) ([]SealLook, error) {
	client, closeClient, err := t.Pod(ctx, pod)
	if err != nil {
		return nil, err
	}
	defer closeClient()
	return watchSeal(ctx, every, func(ctx context.Context) (*api.SealStatusResponse, error) {
		return client.Sys().SealStatusWithContext(ctx)
	}, done)
}

func watchSeal(ctx context.Context, every time.Duration, ask func(context.Context) (*api.SealStatusResponse, error), done func(SealLook) bool) ([]SealLook, error) {
	var looks []SealLook
	tick := time.NewTicker(every)
	defer tick.Stop()
	for {
		asked, cancel := context.WithTimeout(ctx, lookTimeout)
		status, err := ask(asked)
		cancel()
		if err == nil && status == nil {
			err = errors.New("the answer was empty")
		}
		look := SealLook{At: time.Now(), Status: status, Err: err}
		// What fails because time is over says nothing about the pod.
		if err == nil || ctx.Err() == nil {
			looks = append(looks, look)
			if done(look) {
				return looks, nil
			}
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			if len(looks) == 0 {
				return nil, fmt.Errorf("watching the seal: %w", context.Cause(ctx))
			}
			return looks, fmt.Errorf("watching the seal: %w; %s", context.Cause(ctx), looks[len(looks)-1])
		}
	}
}

package sidecar

import (
	"context"
	"sync"
	"time"

	"github.com/vaultproof/vaultproof/bootstrap/machine"
)

const (
	// holdEvery is how often a closed Vault's pod is looked at for a hold.
	holdEvery = time.Second
	// holdIdle is the same for an open Vault, only so that the last known value
	// is not too old when the API server goes away.
	holdIdle = 10 * time.Second
	// holdWait bounds how long unsealing waits for the API server's word.
	holdWait = 400 * time.Millisecond
	// holdTimeout bounds one look.
	holdTimeout = 3 * time.Second
)

// Self is the sidecar's own pod in Kubernetes.
type Self interface {
	Annotations(ctx context.Context) (map[string]string, error)
	// Delete asks for the pod to be deleted; whoever owns it makes a new one.
	Delete(ctx context.Context) error
}

// holder knows whether the pod bears a hold. It looks in the background, so
// that an API server that hangs delays unsealing once, and by holdWait at most.
// What was seen last stands until something else is seen.
type holder struct {
	self Self

	mu     sync.Mutex
	held   bool
	reason string
	seen   time.Time // when the look began that gave held and reason
	asked  time.Time // when the last look began
	done   chan struct{}
}

// get gives what is known.
func (h *holder) get() (held bool, reason string) {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.held, h.reason
}

// refresh begins a look, unless one is under way or the last one was begun
// less than every ago. done is closed when it is through.
func (h *holder) refresh(ctx context.Context, now time.Time, every time.Duration) (done <-chan struct{}) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.done != nil {
		select {
		case <-h.done:
		default:
			return h.done
		}
		if now.Sub(h.asked) < every {
			return h.done
		}
	}
	h.asked, h.done = now, make(chan struct{})
	go h.look(context.WithoutCancel(ctx), now, h.done)
	return h.done
}

func (h *holder) look(ctx context.Context, now time.Time, done chan struct{}) {
	defer close(done)
	ctx, cancel := context.WithTimeout(ctx, holdTimeout)
	defer cancel()
	annotations, err := h.self.Annotations(ctx)
	if err != nil {
		return // the last known value stands
	}
	reason, held := annotations[machine.HoldAnnotation]
	h.mu.Lock()
	defer h.mu.Unlock()
	h.held, h.reason, h.seen = held, reason, now
}

// since tells whether the last answer is of a look that began at t or later.
func (h *holder) since(t time.Time) bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	return !h.seen.Before(t)
}

// hold puts into the facts whether this Vault is to stay sealed. A Vault that
// has just been found sealed waits a moment for a fresh answer: whoever seals
// it on purpose sets the annotation first.
func (s *Sidecar) hold(ctx context.Context, now time.Time) {
	if s.holder == nil {
		return
	}
	f := &s.facts
	sealed := f.Answers && f.Initialised && f.Sealed
	switch {
	case sealed && s.heldAt.IsZero():
		s.heldAt = now
		for range 2 { // the first may be one that began too early
			if s.holder.since(now) || !wait(ctx, s.holder.refresh(ctx, now, 0)) {
				break
			}
		}
	case f.Answers && !f.Sealed:
		s.heldAt = time.Time{}
		s.holder.refresh(ctx, now, holdIdle)
	default:
		s.holder.refresh(ctx, now, holdEvery)
	}
	if f.Held, f.Hold = s.holder.get(); f.Held && sealed {
		s.opener.Wipe() // fetched ahead, and not wanted now
	}
}

// wait tells whether done was closed within holdWait.
func wait(ctx context.Context, done <-chan struct{}) bool {
	t := time.NewTimer(holdWait)
	defer t.Stop()
	select {
	case <-done:
		return true
	case <-t.C:
	case <-ctx.Done():
	}
	return false
}

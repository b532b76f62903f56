// Package feed is a bounded, numbered list that one side fills and the other
// reads in pieces, from any point, waiting when there is nothing new.
package feed

import (
	"context"
	"sync"
	"time"
)

// Feed is safe for use by many goroutines.
type Feed[T any] struct {
	mu    sync.Mutex
	items []T
	first int64 // number of items[0]
	limit int
	more  chan struct{} // closed when something is added; nil while nobody waits
}

// New makes a feed that holds at most limit items; the oldest go first.
func New[T any](limit int) *Feed[T] {
	return &Feed[T]{first: 1, limit: limit}
}

// Add appends what build makes of the next number.
func (f *Feed[T]) Add(build func(n int64) T) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if len(f.items) >= f.limit {
		// A tenth at a time, so that a full feed does not copy at each Add.
		drop := max(1, f.limit/10)
		f.items = append(f.items[:0:0], f.items[drop:]...)
		f.first += int64(drop)
	}
	f.items = append(f.items, build(f.first+int64(len(f.items))))
	if f.more != nil {
		close(f.more)
		f.more = nil
	}
}

// Forget gives up the items up to n: whoever reads has them. They do not count as
// dropped.
func (f *Feed[T]) Forget(n int64) {
	f.mu.Lock()
	defer f.mu.Unlock()
	known := min(n+1-f.first, int64(len(f.items)))
	if known <= 0 {
		return
	}
	clear(f.items[:known]) // what they hold is free, though the list is not copied
	f.items = f.items[known:]
	f.first += known
}

// After returns up to limit items numbered above n. When there are none it
// waits for one, until wait has passed or ctx is done. dropped counts the
// items above n that are gone.
func (f *Feed[T]) After(ctx context.Context, n int64, limit int, wait time.Duration) (items []T, dropped int64) {
	timer := time.NewTimer(wait)
	defer timer.Stop()
	for {
		f.mu.Lock()
		if f.more == nil {
			f.more = make(chan struct{})
		}
		more := f.more
		if n < 0 {
			n = 0
		}
		if n+1 < f.first {
			dropped = f.first - n - 1
			n = f.first - 1
		}
		if skip := n + 1 - f.first; skip < int64(len(f.items)) {
			fresh := f.items[skip:]
			items = append(items, fresh[:min(limit, len(fresh))]...)
		}
		f.mu.Unlock()
		if len(items) > 0 {
			return items, dropped
		}
		select {
		case <-more:
		case <-timer.C:
			return nil, dropped
		case <-ctx.Done():
			return nil, dropped
		}
	}
}

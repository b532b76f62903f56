package conformance

import (
	"context"
	"errors"
	"slices"
	"sync"
	"time"
)

// clearTimeout bounds one thing that is undone after all checks.
const clearTimeout = 3 * time.Minute

// shelf holds what several checks of a run stand on.
type shelf struct {
	mu     sync.Mutex
	things map[string]*thing
	undo   []func(context.Context) error
}

// thing is made by the first check that asks for it, while the others wait.
type thing struct {
	mu    sync.Mutex
	made  bool
	value any
	err   error
}

// Share returns what build makes, to every check of the run that asks by the same name. It
// is built once, also if that fails; only a check that had no time left does not spoil it
// for the others. build says with AtEnd how it is undone, before it begins.
func Share[T any](ctx context.Context, r *Case, name string, build func(context.Context) (T, error)) (T, error) {
	one := r.session.shared.get(name)
	one.mu.Lock()
	defer one.mu.Unlock()
	if !one.made {
		value, err := build(ctx)
		if err != nil && ctx.Err() != nil {
			return value, err
		}
		one.made, one.value, one.err = true, value, err
	}
	value, _ := one.value.(T)
	return value, one.err
}

// AtEnd has f run after the last check of the run, however that ends. What was put off last
// is done first. An error is reported as one of the infrastructure.
func (r *Case) AtEnd(f func(context.Context) error) { r.session.shared.add(f) }

func (s *shelf) get(name string) *thing {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.things == nil {
		s.things = map[string]*thing{}
	}
	if s.things[name] == nil {
		s.things[name] = &thing{}
	}
	return s.things[name]
}

func (s *shelf) add(f func(context.Context) error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.undo = append(s.undo, f)
}

// clear undoes everything, the latest first.
func (s *shelf) clear(ctx context.Context) error {
	s.mu.Lock()
	undo := s.undo
	s.undo = nil
	s.mu.Unlock()
	var errs []error
	for _, f := range slices.Backward(undo) {
		each, cancel := context.WithTimeout(ctx, clearTimeout)
		errs = append(errs, f(each))
		cancel()
	}
	return errors.Join(errs...)
}

package conformance

import (
	"context"
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strings"
	"sync"

	"github.com/onsi/ginkgo/v2/types"
)

// atOnce is how many checks of one manner run at the same time: enough to hide
// that each waits for answers most of its time, few enough not to drown two cores.
const atOnce = 8

// crew runs the checks that may run at the same time. To Ginkgo each is a spec
// like any other, in its place; the spec only waits for its result.
type crew struct {
	// run judges one check, and records what came out of it before it returns.
	run func(context.Context, registered)
	// roster has the checks of this run, by manner.
	roster map[Manner][]registered

	ctx context.Context // of all of them
	end context.CancelCauseFunc

	mu    sync.Mutex
	ended map[string]chan struct{} // by check id, closed when it has ended; nil before it was started
}

// newCrew makes a crew of the checks given. It ends with ctx at the latest.
func newCrew(ctx context.Context, checks []registered, run func(context.Context, registered)) *crew {
	c := &crew{run: run, roster: map[Manner][]registered{}, ended: map[string]chan struct{}{}}
	c.ctx, c.end = context.WithCancelCause(ctx)
	for _, one := range checks {
		if one.check.Manner != Disturbs {
			c.roster[one.check.Manner] = append(c.roster[one.check.Manner], one)
		}
	}
	return c
}

// start begins all checks of a manner, unless they have been.
func (c *crew) start(m Manner) {
	c.mu.Lock()
	defer c.mu.Unlock()
	slots := make(chan struct{}, atOnce)
	for _, one := range c.roster[m] {
		if c.ended[one.check.ID] != nil {
			return
		}
		ended := make(chan struct{})
		c.ended[one.check.ID] = ended
		go func() {
			defer close(ended)
			select {
			case slots <- struct{}{}:
			case <-c.ctx.Done():
				return // cut short before it began: it has no result
			}
			defer func() { <-slots }()
			if c.ctx.Err() == nil {
				c.run(c.ctx, one)
			}
		}()
	}
}

// makeWay waits until nothing runs that must not at the time of this check.
func (c *crew) makeWay(ctx context.Context, next registered) {
	if next.kind == Conformance && !next.check.Last {
		c.start(Apart)
	}
	for m := range c.roster {
		if next.yields(m) {
			c.wait(ctx, c.roster[m])
		}
	}
}

// await starts the checks of this one's manner and waits until it has ended. It
// tells whether it is in the crew at all.
func (c *crew) await(ctx context.Context, one registered) bool {
	m := one.check.Manner
	if !slices.ContainsFunc(c.roster[m], func(r registered) bool { return r.check.ID == one.check.ID }) {
		return false
	}
	c.start(m)
	c.wait(ctx, []registered{one})
	return true
}

// wait waits for checks that have been started. If ctx ends, the run does, and
// so do all of them.
func (c *crew) wait(ctx context.Context, checks []registered) {
	for _, one := range checks {
		c.mu.Lock()
		ended := c.ended[one.check.ID]
		c.mu.Unlock()
		if ended == nil {
			continue
		}
		select {
		case <-ended:
		case <-ctx.Done():
			c.end(context.Cause(ctx))
			<-ended
		}
	}
}

// close ends what still runs, and waits for it as long as ctx allows. A run that
// did not get so far has no crew.
func (c *crew) close(ctx context.Context) error {
	if c == nil {
		return nil
	}
	c.end(errors.New("the run is over"))
	c.mu.Lock()
	defer c.mu.Unlock()
	for id, ended := range c.ended {
		select {
		case <-ended:
		case <-ctx.Done():
			return fmt.Errorf("waiting for %s to clean up: %w", id, context.Cause(ctx))
		}
	}
	return nil
}

// members are the checks that will run: those that were selected, less what
// Ginkgo's own -focus and -skip leave out, which look at the name of a spec.
func members(selected []string, suite string, config types.SuiteConfig) ([]registered, error) {
	focus, err := either(config.FocusStrings)
	if err != nil {
		return nil, err
	}
	skip, err := either(config.SkipStrings)
	if err != nil {
		return nil, err
	}
	var run []registered
	for _, c := range catalogue {
		name := suite + " " + c.name()
		if slices.Contains(selected, c.check.ID) && (focus == nil || focus.MatchString(name)) && (skip == nil || !skip.MatchString(name)) {
			run = append(run, c)
		}
	}
	return run, nil
}

// either is an expression that matches what any of the given does; nil for none.
func either(expressions []string) (*regexp.Regexp, error) {
	if len(expressions) == 0 {
		return nil, nil
	}
	matches, err := regexp.Compile(strings.Join(expressions, "|"))
	if err != nil {
		return nil, fmt.Errorf("reading -ginkgo.focus and -ginkgo.skip: %w", err)
	}
	return matches, nil
}
